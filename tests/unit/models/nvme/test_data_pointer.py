# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PRPs and SGLs: what good ones say, and that no other one leads further than to a status."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.models.nvme import data_pointer
from pyvmm.models.nvme.data_pointer import DATA_BLOCK, LAST_SEGMENT, SEGMENT, prps, sgl
from pyvmm.models.nvme.spec import Command, Rejected, Status

PAGE = 4096
MOST = 1 << 20  # bytes of a command's data


class Memory:
    """Sparse memory, which counts how often it is looked at."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.looks = 0
        self.bytes = 0

    def put(self, at: int, *words: int) -> None:
        for index, word in enumerate(words):
            self.words[at + 8 * index] = word

    def read(self, iova: int, size: int) -> bytes:
        self.looks += 1
        self.bytes += size
        words = (self.words.get(at, 0) for at in range(iova, iova + size, 8))
        return b"".join(word.to_bytes(8, "little") for word in words)[:size]


@pytest.fixture
def memory() -> Memory:
    return Memory()


def status(function: object, *arguments: object) -> Status:
    with pytest.raises(Rejected) as caught:
        function(*arguments)  # type: ignore[operator]
    return caught.value.status


def lists(memory: Memory, at: int, pages: list[int]) -> int:
    """Put a PRP list at `at`, and more after it in other pages; its address."""
    room = (PAGE - at % PAGE) // 8
    if len(pages) <= room:
        memory.put(at, *pages)
    else:
        following = (at & -PAGE) + PAGE
        memory.put(at, *pages[: room - 1], following)
        lists(memory, following, pages[room - 1 :])
    return at


def test_no_data_are_no_segments(memory: Memory) -> None:
    assert prps(0x1000, 0, 0, PAGE, memory.read) == []


@given(
    offset=st.integers(0, PAGE // 4 - 1).map(lambda words: words * 4),
    size=st.integers(1, MOST),
    list_entry=st.integers(0, 511),
    seed=st.randoms(use_true_random=False),
)
def test_good_prps(offset: int, size: int, list_entry: int, seed: object) -> None:
    memory = Memory()
    first = min(size, PAGE - offset)
    count = -(-(size - first) // PAGE)
    pages = [0x4000_0000 + 2 * PAGE * index for index in range(count)]
    seed.shuffle(pages)  # type: ignore[attr-defined]
    prp2 = lists(memory, 0x10000 + 8 * list_entry, pages) if count > 1 else sum(pages)
    found = prps(0x2000 + offset, prp2, size, PAGE, memory.read)
    assert found[0] == (0x2000 + offset, first)
    assert [iova for iova, _ in found[1:]] == pages
    assert sum(length for _, length in found) == size
    assert all(length == PAGE for _, length in found[1:-1])


@pytest.mark.parametrize(
    ("prp1", "prp2", "size"),
    [
        (0x1001, 0, 16),
        (0x1000, 0x2008, 2 * PAGE),
        (0x1FFC, 0x2004, 8),
        (0x1000, 0x2004, 3 * PAGE),
    ],
)
def test_offsets_that_can_not_be(memory: Memory, prp1: int, prp2: int, size: int) -> None:
    assert status(prps, prp1, prp2, size, PAGE, memory.read) == Status.INVALID_PRP_OFFSET


def test_offsets_in_lists(memory: Memory) -> None:
    memory.put(0x5000, 0x6000, 0x7008)
    assert status(prps, 0x1000, 0x5000, 3 * PAGE, PAGE, memory.read) == Status.INVALID_PRP_OFFSET
    memory.put(0x5FF8, 0x8008)
    assert status(prps, 0x1000, 0x5FF8, 3 * PAGE, PAGE, memory.read) == Status.INVALID_PRP_OFFSET


def test_a_list_that_is_its_own_continuation_ends(memory: Memory) -> None:
    memory.put(0x5000, *[0x5000] * 512)
    assert len(prps(0x1000, 0x5FF8, MOST, PAGE, memory.read)) == MOST // PAGE
    assert memory.looks <= 3


def command(flags: int, prp1: int, prp2: int) -> Command:
    return Command(2, flags, 0, 1, 0, prp1, prp2, 0, 0, 0, 0, 0, 0)


def test_what_adjoins_is_one_segment(memory: Memory) -> None:
    memory.put(0x5000, 0x2000, 0x3000, 0x8000)
    found = data_pointer.segments(command(0, 0x1000, 0x5000), 4 * PAGE, PAGE, memory.read)
    assert found == [(0x1000, 3 * PAGE), (0x8000, PAGE)]


def test_kinds_of_pointers(memory: Memory) -> None:
    kind = DATA_BLOCK << 56 | 512
    for flags in (0x40, 0x80):
        found = data_pointer.segments(command(flags, 0x1234, kind), 512, PAGE, memory.read)
        assert found == [(0x1234, 512)]
    assert (
        status(data_pointer.segments, command(0xC0, 0, 0), 512, PAGE, memory.read)
        == Status.INVALID_FIELD
    )


def descriptor(address: int, length: int, kind: int) -> bytes:
    return struct.pack("<QI3xB", address, length, kind)


def put(memory: Memory, at: int, *descriptors: bytes) -> None:
    memory.put(at, *struct.unpack(f"<{2 * len(descriptors)}Q", b"".join(descriptors)))


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(2, 9))
def test_good_sgls(sizes: list[int], per_segment: int) -> None:
    memory = Memory()
    blocks = [(0x100000 + 0x1000 * index, size) for index, size in enumerate(sizes)]
    pieces = [blocks[at : at + per_segment] for at in range(0, len(blocks), per_segment)]
    places = [0x8000 + 0x400 * index for index in range(len(pieces))]
    pointers = [
        descriptor(
            place,
            16 * (len(piece) + (index < len(pieces) - 1)),
            SEGMENT if index < len(pieces) - 1 else LAST_SEGMENT,
        )
        for index, (piece, place) in enumerate(zip(pieces, places, strict=True))
    ]
    for index, piece in enumerate(pieces):
        data = [descriptor(*block, DATA_BLOCK) for block in piece]
        put(memory, places[index], *data, *pointers[index + 1 : index + 2])
    assert sgl(pointers[0], sum(sizes), memory.read) == [block for block in blocks if block[1]]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (descriptor(0, 513, DATA_BLOCK), Status.INVALID_SGL_LENGTH),
        (descriptor(0, 511, DATA_BLOCK), Status.INVALID_SGL_LENGTH),
        (descriptor(0, 512, 0x10), Status.INVALID_SGL_TYPE),
        (descriptor(0, 512, 0x01), Status.INVALID_SGL_TYPE),
        (descriptor(0, 512, 0xF0), Status.INVALID_SGL_TYPE),
        (descriptor(0, 0, SEGMENT), Status.INVALID_SGL_SEGMENT),
        (descriptor(0, 24, LAST_SEGMENT), Status.INVALID_SGL_SEGMENT),
        (descriptor(0, 0xFFFFFFF0, LAST_SEGMENT), Status.INVALID_SGL_COUNT),
    ],
)
def test_bad_descriptors(memory: Memory, first: bytes, expected: Status) -> None:
    assert status(sgl, first, 512, memory.read) == expected


def test_pointers_at_wrong_places(memory: Memory) -> None:
    last = descriptor(0x8000, 32, LAST_SEGMENT)
    put(memory, 0x8000, descriptor(0, 512, DATA_BLOCK), last)
    assert status(sgl, last, 512, memory.read) == Status.INVALID_SGL_SEGMENT
    put(memory, 0x8000, last, descriptor(0, 512, DATA_BLOCK))
    first = descriptor(0x8000, 32, SEGMENT)
    assert status(sgl, first, 512, memory.read) == Status.INVALID_SGL_SEGMENT


def test_a_segment_that_is_its_own_continuation_ends(memory: Memory) -> None:
    first = descriptor(0x8000, 16, SEGMENT)
    put(memory, 0x8000, first)
    assert status(sgl, first, 512, memory.read) == Status.INVALID_SGL_COUNT
    assert memory.bytes <= 1 << 17


words = st.one_of(
    st.sampled_from((0, 0x1000, 0x5000, 0x5FF8, 0x8000, (1 << 64) - 8)),
    st.integers(0, (1 << 64) - 1),
    st.builds(
        lambda length, kind: length | kind << 56,
        st.integers(0, 64).map(lambda count: count * 16),
        st.sampled_from((DATA_BLOCK, SEGMENT, LAST_SEGMENT, 0x10)),
    ),
)


@given(
    flags=st.sampled_from((0x00, 0x40, 0x80, 0xC0)),
    prp1=words,
    prp2=words,
    size=st.integers(0, MOST),
    content=st.lists(words, min_size=1, max_size=40),
    places=st.lists(st.sampled_from((0x5000, 0x5FF8, 0x8000, 0x1000)), max_size=4),
)
def test_whatever_they_are(
    flags: int, prp1: int, prp2: int, size: int, content: list[int], places: list[int]
) -> None:
    memory = Memory()
    for place in places:
        memory.put(place, *content)
    try:
        found = data_pointer.segments(command(flags, prp1, prp2), size, PAGE, memory.read)
    except Rejected:
        pass
    else:
        assert sum(length for _, length in found) == size
        assert all(length > 0 for _, length in found)
    assert memory.bytes <= 1 << 17, "as much as there can be of lists"
