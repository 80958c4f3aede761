# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a device in software writes is noted, and told once."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import DeviceError, DmaFault, Interval
from pyvmm.vfio.intervals import merge
from pyvmm.vfio.software import DmaTable
from pyvmm.vfio.software.dma_log import DmaLog

PAGE = 4096
SPACE = 1 << 64


@pytest.fixture
def table() -> Iterator[DmaTable]:
    """16 pages at IOVA 0x10000, then a read-only one."""
    memory = (ctypes.c_ubyte * (17 * PAGE))()
    with DmaTable() as table:
        address = ctypes.addressof(memory)
        table.map(0x10000, 16 * PAGE, address=address)
        table.map(0x20000, PAGE, address=address + 16 * PAGE, writable=False)
        yield table


@pytest.fixture
def log(table: DmaTable) -> DmaLog:
    return DmaLog("fake", table)


def test_writes_are_told_once(table: DmaTable, log: DmaLog) -> None:
    table.write(0x10000, b"before it was started")
    assert log.start([]) == PAGE
    table.write(0x11FFF, b"12")
    table.read(0x15000, PAGE)
    everything = Interval(0, SPACE)
    assert log.report(everything) == (Interval(0x11000, 0x13000),)
    assert log.report(everything) == ()
    with table.view(0x14000, PAGE, write=True) as view:
        assert view is None, "memory of this process is not touched"
    assert log.report(everything) == ()
    with pytest.raises(DmaFault):
        table.write(0x1FFFF, b"12")
    assert log.report(everything) == ()
    table.write(0x1F000, b"1")
    log.stop()
    with pytest.raises(DeviceError, match="start it first"):
        log.report(everything)
    assert log.start([]) == PAGE
    assert log.report(everything) == ()


def test_logs_that_make_no_sense(log: DmaLog) -> None:
    overlapping = [Interval(0, 2 * PAGE), Interval(PAGE, 3 * PAGE)]
    with pytest.raises(DeviceError, match="must not overlap") as caught:
        log.start(overlapping)
    assert caught.value.errno == errno.EINVAL
    assert log.start([Interval(0, PAGE), Interval(PAGE, 2 * PAGE)], 1) == PAGE
    with pytest.raises(DeviceError, match="stop the log that is running") as caught:
        log.start([])
    assert caught.value.errno == errno.EALREADY
    log.stop()
    assert log.start([], 1 << 40) == 1 << 30


iovas = st.one_of(st.integers(0, 1 << 20), st.integers(SPACE - (1 << 20), SPACE - 1))
accesses = st.lists(st.tuples(iovas, st.integers(1, 1 << 17)), max_size=20)
page_sizes = st.sampled_from([1 << shift for shift in (9, 12, 13, 16, 21)])
reports = st.lists(st.tuples(iovas, st.integers(1, 1 << 19), page_sizes), max_size=6)


@given(accesses, accesses, reports, page_sizes)
def test_nothing_that_was_written_is_missed(
    first: list[tuple[int, int]],
    second: list[tuple[int, int]],
    asked: list[tuple[int, int, int]],
    size: int,
) -> None:
    """Whatever the log's pages are: each report covers what was written in its range since the
    last one there, and tells only of pages, or parts of them, of which some was written.
    """
    with DmaTable() as table:
        log = DmaLog("fake", table)
        taken = log.start([], size)
        for writes in (first, second):
            written = merge(Interval.sized(iova, length) for iova, length in writes)
            for iova, length in writes:
                assert table.on_write
                table.on_write(iova, min(length, SPACE - iova))
            left = written
            for iova, length, page_size in asked:
                within = Interval(iova, min(iova + length, SPACE))
                told = log.report(within, page_size)
                missed = merge(i for i in left if i.overlaps(within))
                for piece in missed:
                    part = Interval(max(piece.start, within.start), min(piece.end, within.end))
                    assert any(t.covers(part) for t in told)
                coarse = max(taken, page_size)
                for t in told:
                    assert within.covers(t)
                    near = Interval(t.start - coarse, t.end + coarse)
                    assert any(w.overlaps(near) for w in merge((*first_of(first), *written)))
                left = merge(i for i in left if not i.overlaps(within))


def first_of(accesses: list[tuple[int, int]]) -> tuple[Interval, ...]:
    return tuple(Interval.sized(iova, length) for iova, length in accesses)
