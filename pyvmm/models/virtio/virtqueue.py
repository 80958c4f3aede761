# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Virtqueue: a split virtqueue (section 2.7), as the device sees it.

All of it is in the guest's memory, and may be anything: what can't be raises QueueBroken, and
whatever it says, one look at it takes a bounded time and memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pyvmm.models.file_dma import Segment

MAX_CHAIN = 1024  # descriptors, those of an indirect table included

_NEXT, _WRITE, _INDIRECT = 1, 2, 4  # flags of a descriptor
_NO_INTERRUPT = 1  # in the flags of the available ring
_DESCRIPTOR = struct.Struct("<QIHH")
_USED = struct.Struct("<II")


class QueueBroken(Exception):
    """The driver has put something into the queue that can't be.

    It is counted by its text, which therefore has nothing of the driver's in it.
    """


class Memory(Protocol):
    """What of a model reaches the guest's memory. Both raise DmaFault."""

    def dma_read(self, iova: int, size: int) -> bytes: ...

    def dma_write(self, iova: int, data: bytes | memoryview) -> None: ...


class Chain(NamedTuple):
    """A request: what the device reads of it, and then what it writes."""

    head: int
    readable: list[Segment]
    writable: list[Segment]

    @property
    def room(self) -> int:
        """Bytes that the device may write."""
        return sum(size for _, size in self.writable)


class Virtqueue:
    """`size` entries; the areas are IOVAs. Methods raise QueueBroken and DmaFault."""

    def __init__(
        self,
        memory: Memory,
        size: int,
        *,
        descriptors: int,
        driver: int,
        device: int,
        event_index: bool = False,
    ) -> None:
        self.size = size
        self._memory = memory
        self._descriptors = descriptors
        self._available = driver
        self._used = device
        self._event_index = event_index
        self._next_available = 0
        self._next_used = 0

    def take(self, most: int) -> list[Chain]:
        """The next requests, up to `most` of them."""
        count = self._waiting()
        if not count:
            return []
        count = min(count, most)
        table = self._memory.dma_read(self._descriptors, _DESCRIPTOR.size * self.size)
        heads: list[int] = []
        for first, run in self._runs(self._next_available, count):
            data = self._memory.dma_read(self._available + 4 + 2 * first, 2 * run)
            heads += struct.unpack(f"<{run}H", data)
        self._next_available = (self._next_available + count) & 0xFFFF
        return [self._chain(head, table) for head in heads]

    def give_back(self, done: Sequence[tuple[int, int]]) -> bool:
        """Return requests, each by its head and the bytes written; whether to interrupt."""
        if not done:
            return False
        elements = b"".join(_USED.pack(head, written) for head, written in done)
        for first, run in self._runs(self._next_used, len(done)):
            part, elements = elements[: run * _USED.size], elements[run * _USED.size :]
            self._memory.dma_write(self._used + 4 + _USED.size * first, part)
        old = self._next_used
        self._next_used = (old + len(done)) & 0xFFFF
        self._memory.dma_write(self._used + 2, struct.pack("<H", self._next_used))
        if not self._event_index:
            return not self._half_word(self._available) & _NO_INTERRUPT
        wanted = self._half_word(self._available + 4 + 2 * self.size)  # used_event
        return (self._next_used - wanted - 1) & 0xFFFF < len(done)

    def rest(self) -> bool:
        """Ask to be notified of the next request; False if there are some already."""
        if self._event_index:
            event = struct.pack("<H", self._next_available)
            self._memory.dma_write(self._used + 4 + _USED.size * self.size, event)
        return not self._waiting()

    def _waiting(self) -> int:
        index = self._half_word(self._available + 2)
        count = (index - self._next_available) & 0xFFFF
        if count > self.size:
            raise QueueBroken("more requests than it has room for")
        return count

    def _runs(self, index: int, count: int) -> list[tuple[int, int]]:
        """(first entry, number) of those from `index` on, in one piece or around the end."""
        first = index % self.size
        if first + count <= self.size:
            return [(first, count)]
        return [(first, self.size - first), (0, first + count - self.size)]

    def _chain(self, head: int, table: bytes) -> Chain:
        chain = Chain(head, [], [])
        index, indirect = head, False
        for _ in range(MAX_CHAIN):
            if index * _DESCRIPTOR.size >= len(table):
                raise QueueBroken("a descriptor outside of the table")
            iova, size, flags, index = _DESCRIPTOR.unpack_from(table, index * _DESCRIPTOR.size)
            if flags & _INDIRECT:
                if indirect or flags & _NEXT or not size or size % _DESCRIPTOR.size:
                    raise QueueBroken("an indirect descriptor that can't be")
                if size > MAX_CHAIN * _DESCRIPTOR.size:
                    raise QueueBroken("an indirect table that is too long")
                table, index, indirect = self._memory.dma_read(iova, size), 0, True
                continue
            if size:
                (chain.writable if flags & _WRITE else chain.readable).append((iova, size))
            if not flags & _NEXT:
                return chain
        raise QueueBroken("a chain without an end")

    def _half_word(self, iova: int) -> int:
        return int.from_bytes(self._memory.dma_read(iova, 2), "little")
