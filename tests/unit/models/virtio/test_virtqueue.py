# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Virtqueues: good ones are read as they are written, and others only break."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.models.virtio.virtqueue import MAX_CHAIN, QueueBroken, Virtqueue

SIZE = 0x8000
DESCRIPTORS, AVAILABLE, USED = 0, 0x1000, 0x2000


class Memory:
    """Memory that wraps around, and counts what is read of it."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content.ljust(SIZE, b"\0"))
        self.bytes = 0

    def dma_read(self, iova: int, size: int) -> bytes:
        self.bytes += size
        start = iova % SIZE
        return bytes((self.content[start:] + self.content * (size // SIZE + 1))[:size])

    def dma_write(self, iova: int, data: bytes | memoryview) -> None:
        start = iova % SIZE
        self.content[start : start + len(data)] = data
        del self.content[SIZE:]


def queue(memory: Memory, size: int, *, event_index: bool = False) -> Virtqueue:
    return Virtqueue(
        memory,
        size,
        descriptors=DESCRIPTORS,
        driver=AVAILABLE,
        device=USED,
        event_index=event_index,
    )


sizes = st.sampled_from((1, 2, 8, 64))
requests = st.lists(
    st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 9999), st.booleans()), min_size=1),
    max_size=20,
)


@given(requests, st.booleans())
def test_requests_are_read_as_they_are_written(
    written: list[list[tuple[int, int, bool]]], event_index: bool
) -> None:
    """Each by an indirect table in the lower half of a queue of 4; and all come back."""
    memory = Memory()
    q = queue(memory, 4, event_index=event_index)
    for turn, parts in enumerate(written):
        assert q.rest()
        table, head = 0x3000, turn % 4
        for index, (iova, size, writable) in enumerate(parts):
            more = index < len(parts) - 1
            flags = 2 * writable | more
            entry = struct.pack("<QIHH", iova, size, flags, index + 1 if more else 0)
            memory.dma_write(table + 16 * index, entry)
        entry = struct.pack("<QIHH", table, 16 * len(parts), 4, 0)
        memory.dma_write(DESCRIPTORS + 16 * head, entry)
        memory.dma_write(AVAILABLE + 4 + 2 * (turn % 4), struct.pack("<H", head))
        memory.dma_write(AVAILABLE + 2, struct.pack("<H", turn + 1))
        memory.dma_write(AVAILABLE + 4 + 8, struct.pack("<H", turn))  # used_event
        (chain,) = q.take(64)
        assert chain.head == head
        assert chain.readable == [part[:2] for part in parts if not part[2]]
        assert chain.writable == [part[:2] for part in parts if part[2]]
        assert q.give_back([(head, 7)])
        assert memory.dma_read(USED + 2, 2) == struct.pack("<H", turn + 1)
        assert memory.dma_read(USED + 4 + 8 * (turn % 4), 8) == struct.pack("<II", head, 7)


@given(
    content=st.lists(
        st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=64)), max_size=30
    ),
    index=st.integers(0, 0xFFFF),
    size=sizes,
    event_index=st.booleans(),
)
def test_whatever_is_in_memory(
    content: list[tuple[int, bytes]], index: int, size: int, event_index: bool
) -> None:
    memory = Memory()
    for at, data in content:
        memory.dma_write(at, data)
    memory.dma_write(AVAILABLE + 2, struct.pack("<H", index))
    q = queue(memory, size, event_index=event_index)
    try:
        chains = q.take(64)
    except QueueBroken:
        pass
    else:
        assert len(chains) <= min(64, size)
        assert all(len(c.readable) + len(c.writable) <= MAX_CHAIN for c in chains)
        q.give_back([(chain.head, 0) for chain in chains])
    assert memory.bytes <= 64 * 16 * (MAX_CHAIN + 1) + 4096


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(1, 8))
def test_when_to_interrupt_by_event_index(start: int, wanted: int, count: int) -> None:
    """As vring_need_event() of the specification has it (section 2.7.7)."""
    memory = Memory()
    q = queue(memory, 8, event_index=True)
    q._next_used = start
    memory.dma_write(AVAILABLE + 4 + 2 * 8, struct.pack("<H", wanted))
    crossed = any((start + n) & 0xFFFF == wanted for n in range(count))
    assert q.give_back([(0, 0)] * count) == crossed
