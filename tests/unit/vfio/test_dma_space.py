# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What every DmaSpace has from the base class: the book of mappings, buffers, its end."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import DeviceError, DmaSpace, Interval
from pyvmm.vfio.dma import DmaMapping

PAGE = 4096
MSI = Interval(0xFEE00000, 0xFEF00000)
RANGES = (Interval(0, MSI.start), Interval(MSI.end, 1 << 39))


class Space(DmaSpace):
    """Keeps what it is told in a list, and refuses if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.mapped: list[DmaMapping] = []
        self.error: DeviceError | None = None
        self.ranges: tuple[Interval, ...] = RANGES

    @property
    def page_sizes(self) -> int:
        return PAGE | 2 << 20

    def iova_ranges(self) -> tuple[Interval, ...]:
        return self.ranges

    def narrow(self, *ranges: Interval) -> None:
        self.ranges = ranges
        self._ranges_changed()

    def _map(self, mapping: DmaMapping) -> None:
        if self.error:
            raise self.error
        self.mapped.append(mapping)

    def _unmap(self, mapping: DmaMapping) -> None:
        self.mapped.remove(mapping)
        if self.error:
            raise self.error


@pytest.fixture
def space() -> Iterator[Space]:
    with Space() as space:
        yield space
        space.error = None
    assert space.mapped == []
    assert space.mappings == ()


def test_the_book(space: Space) -> None:
    space.map(0x3000, PAGE, address=PAGE)
    space.map(0x1000, 2 * PAGE, address=PAGE, writable=False)
    space.map(0x5000, PAGE, address=0, fd=7, offset=PAGE, readable=False)
    assert list(space.mappings) == [
        Interval(0x1000, 0x3000),
        Interval(0x3000, 0x4000),
        Interval(0x5000, 0x6000),
    ]
    assert space.mapped[1] == DmaMapping(0x1000, 0x2000, PAGE, writable=False)
    assert space.mapped[2] == DmaMapping(0x5000, PAGE, 0, 7, PAGE, readable=False)
    space.unmap(0x1000, 2 * PAGE)
    assert list(space.mappings) == [Interval(0x3000, 0x4000), Interval(0x5000, 0x6000)]
    space.unmap_all()
    assert not space.mappings
    assert space.mapped == []


def test_an_overlap_is_named(space: Space) -> None:
    space.map(0x2000, 2 * PAGE, address=PAGE)
    for iova, size in ((0x2000, PAGE), (0x1000, 2 * PAGE), (0x3000, 9 * PAGE), (0, 1 << 20)):
        with pytest.raises(
            DeviceError, match=r"EEXIST .*\[0x2000, 0x4000\) is mapped already"
        ) as caught:
            space.map(iova, size, address=PAGE)
        assert caught.value.errno == errno.EEXIST
    assert len(space.mapped) == 1


def test_unmapping_is_exact(space: Space) -> None:
    space.map(0x2000, 2 * PAGE, address=PAGE)
    for iova, size in ((0x2000, PAGE), (0x3000, PAGE), (0x1000, 8 * PAGE), (0x2000, 3 * PAGE)):
        with pytest.raises(
            DeviceError, match=r"ENOENT .*\[0x2000, 0x4000\), and goes as a whole"
        ) as caught:
            space.unmap(iova, size)
        assert caught.value.errno == errno.ENOENT
    with pytest.raises(DeviceError, match=r"ENOENT \(No such file or directory\)$"):
        space.unmap(0x8000, PAGE)
    assert len(space.mapped) == 1


@pytest.mark.parametrize(
    ("iova", "size"),
    [
        (0, 0),
        (0, -PAGE),
        (-PAGE, PAGE),
        (MSI.start, PAGE),
        (MSI.start - PAGE, 2 * PAGE),
        (1 << 39, PAGE),
        ((1 << 64) - PAGE, PAGE),
        (1 << 64, PAGE),
        (0, 1 << 64),
    ],
)
def test_what_is_out_of_range(space: Space, iova: int, size: int) -> None:
    with pytest.raises(DeviceError, match="EINVAL") as caught:
        space.map(iova, size, address=PAGE)
    assert caught.value.errno == errno.EINVAL


def test_the_granularity(space: Space) -> None:
    assert space.page_size == PAGE


def test_neither_memory_nor_a_file(space: Space) -> None:
    with pytest.raises(DeviceError, match="neither memory nor a file"):
        space.map(0, PAGE, address=0)


def test_a_refused_mapping_leaves_no_trace(space: Space) -> None:
    space.error = DeviceError("no", errno.ENOMEM)
    with pytest.raises(DeviceError, match="no"):
        space.map(0x1000, PAGE, address=PAGE)
    with pytest.raises(DeviceError, match="no"):
        space.alloc(PAGE)
    assert space.mappings == ()
    space.error = None
    with space.alloc(PAGE) as buffer:
        assert buffer.iova == PAGE


def test_a_refused_unmapping_is_forgotten(space: Space) -> None:
    space.map(0x1000, PAGE, address=PAGE)
    space.error = DeviceError("no", errno.EIO)
    with pytest.raises(DeviceError, match="no"):
        space.unmap(0x1000, PAGE)
    assert space.mappings == ()


def test_a_closed_space(space: Space) -> None:
    space.map(0x1000, PAGE, address=PAGE)
    space.close()
    space.close()
    assert space.mapped == []
    with pytest.raises(DeviceError, match=r"EBADF.*closed"):
        space.map(0x1000, PAGE, address=PAGE)
    with pytest.raises(DeviceError, match=r"EBADF.*closed"):
        space.alloc(PAGE)


# Buffers.


def test_a_buffer_is_mapped_memory(space: Space) -> None:
    with space.alloc(100) as buffer:
        (mapping,) = space.mapped
        assert (mapping.iova, mapping.size) == (buffer.iova, PAGE) == (PAGE, PAGE)
        assert mapping.address == buffer.address
        assert (mapping.readable, mapping.writable) == (True, True)
        assert bytes(buffer.view) == bytes(100)
        ctypes.memmove(mapping.address, b"device", 6)
        assert bytes(buffer.view[:6]) == b"device"
    assert space.mapped == []


def test_buffers_go_where_there_is_room(space: Space) -> None:
    space.map(0x2000, PAGE, address=PAGE)
    with space.alloc(PAGE) as a, space.alloc(2 * PAGE) as b, space.alloc(PAGE) as c:
        assert (a.iova, b.iova, c.iova) == (0x1000, 0x3000, 0x5000)
        space.unmap(0x2000, PAGE)
        with space.alloc(PAGE) as d:
            assert d.iova == 0x2000
        space.map(0x2000, PAGE, address=PAGE)
        with space.alloc(PAGE) as e:
            assert e.iova == 0x6000


def test_a_buffer_where_it_is_wanted(space: Space) -> None:
    with space.alloc(PAGE, iova=0x8000, writable=False) as buffer:
        assert buffer.iova == 0x8000
        assert not space.mapped[0].writable
        with pytest.raises(DeviceError, match=r"\[0x8000, 0x9000\) is mapped already"):
            space.alloc(PAGE, iova=0x8000)
    with pytest.raises(DeviceError, match="EINVAL"):
        space.alloc(PAGE, iova=MSI.start)


def test_no_room(space: Space) -> None:
    with space.alloc(PAGE, below=0x2000):
        for below in (0x2000, 0x1000, 0):
            with pytest.raises(DeviceError, match="ENOSPC") as caught:
                space.alloc(PAGE, below=below)
            assert caught.value.errno == errno.ENOSPC


def test_room_follows_the_ranges(space: Space) -> None:
    with space.alloc(PAGE):
        space.narrow(Interval(0, 0x3000))
        with space.alloc(PAGE), pytest.raises(DeviceError, match="ENOSPC"):
            space.alloc(PAGE)
        space.narrow(*RANGES)
        with space.alloc(4 * PAGE) as buffer:
            assert buffer.iova == 0x2000


def test_a_buffer_may_be_closed_after_everything_else(space: Space) -> None:
    before = space.alloc(PAGE)
    space.unmap_all()
    # What is there now is somebody else's.
    space.map(before.iova, PAGE, address=PAGE)
    before.close()
    assert len(space.mapped) == 1
    after = space.alloc(PAGE)
    space.close()
    after.close()
    with pytest.raises(ValueError, match="closed"):
        _ = after.view


@given(st.lists(st.tuples(st.integers(1, 5 * PAGE), st.integers(0, 5)), max_size=30))
def test_buffers_never_overlap(steps: list[tuple[int, int]]) -> None:
    with Space() as space:
        buffers = []
        for size, close in steps:
            buffers.append(space.alloc(size))
            if close < len(buffers) - 1:
                buffers.pop(close).close()
            spans = sorted(Interval.sized(b.iova, -(-b.size // PAGE) * PAGE) for b in buffers)
            assert tuple(spans) == space.mappings
        for buffer in buffers:
            buffer.close()
        assert space.mappings == ()


@pytest.mark.parametrize(
    "wrong", [{"address": "x"}, {"address": None}, {"address": 1.5}, {"offset": 1.5}, {"fd": "x"}]
)
def test_what_is_no_number(space: Space, wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="integer"):
        space.map(PAGE, PAGE, **{"address": PAGE, **wrong})
    assert not space.mappings


@pytest.mark.parametrize("address", [-PAGE, 1 << 64])
def test_an_address_that_there_cannot_be(space: Space, address: int) -> None:
    with pytest.raises(DeviceError, match="no address of this process's memory") as caught:
        space.map(PAGE, PAGE, address=address)
    assert caught.value.errno == errno.EFAULT


def test_a_number_that_no_file_has(space: Space) -> None:
    with pytest.raises(DeviceError, match="no file descriptor") as caught:
        space.map(PAGE, PAGE, address=0, fd=1 << 40)
    assert caught.value.errno == errno.EBADF


def test_sizes_that_are_no_numbers(space: Space) -> None:
    for size in (1.5, "4", None):
        with pytest.raises(TypeError, match="integer"):
            space.alloc(size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        space.alloc(PAGE, below=None)  # type: ignore[arg-type]


def test_a_forked_process_unmaps_nothing(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = space.alloc(PAGE)
    mapped = space.mappings
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        buffer.close()
        assert space.mappings == mapped
        assert len(space.mapped) == 1
