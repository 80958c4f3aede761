# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaLog: what a device in software has written to memory, noted where its DMA passes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence

from ..dirty_bitmap import runs
from ..dma_logging import DmaLogging
from ..errors import DeviceError
from ..intervals import Interval, Intervals, merge
from .dma_table import DmaTable

_SMALLEST, _LARGEST = 1 << 12, 1 << 30
_CHUNK = 1 << 12  # pages whose bits are in one number


class DmaLog(DmaLogging):
    """The writes of a DmaTable's device, to wherever they go: the ranges are no limit.

    It takes a bit for each page of 4 KiB, or of more, in chunks where something was written: for
    1 TiB all of which is dirty, about 32 MiB.
    """

    def __init__(self, name: str, table: DmaTable) -> None:
        self.name = name
        self._table = table
        self._lock = threading.Lock()  # held for a moment, and no other after it
        self._shift = 0
        self._chunks: dict[int, int] = {}

    @property
    def running(self) -> bool:
        return self._table.on_write is not None

    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
        self._check(page_size, *ranges)
        if sum(r.size for r in ranges) != sum(r.size for r in merge(ranges)):
            raise self._refused("starting it", errno.EINVAL, "the ranges must not overlap")
        if self.running:
            raise self._refused("starting it", errno.EALREADY, "stop the log that is running")
        taken = min(max(page_size, _SMALLEST), _LARGEST)
        self._chunks.clear()
        self._shift = taken.bit_length() - 1
        self._table.on_write = self._note
        return taken

    def stop(self) -> None:
        self._table.on_write = None
        with self._lock:
            self._chunks.clear()

    def _note(self, iova: int, size: int) -> None:
        at, behind = iova >> self._shift, (iova + size - 1 >> self._shift) + 1
        with self._lock:
            while at < behind:
                chunk, first = divmod(at, _CHUNK)
                count = min(behind - at, _CHUNK - first)
                self._chunks[chunk] = self._chunks.get(chunk, 0) | _bits(first, first + count)
                at += count

    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        """DmaLogging.report(). A page of which only a part is asked for stays noted."""
        self._check(page_size, within)
        if not self.running:
            raise self._refused("its report", errno.EINVAL, "start it first")
        page = 1 << self._shift
        touched = within.start // page, -(-within.end // page)
        whole = -(-within.start // page), within.end // page
        found: list[Interval] = []
        with self._lock:
            for chunk in self._chunks_in(*touched):
                base, bits = chunk * _CHUNK, self._chunks[chunk]
                dirty = bits & _bits(touched[0] - base, touched[1] - base)
                found += (
                    Interval((base + first) * page, (base + behind) * page)
                    for first, behind in runs(dirty)
                )
                left = bits & ~_bits(whole[0] - base, whole[1] - base)
                if left:
                    self._chunks[chunk] = left
                else:
                    del self._chunks[chunk]
        return merge(_in_pages(dirty, within, page_size) for dirty in found)

    def _chunks_in(self, first: int, behind: int) -> list[int]:
        """The chunks there are with some of these pages."""
        low, high = first // _CHUNK, (behind - 1) // _CHUNK
        return [chunk for chunk in self._chunks if low <= chunk <= high]

    def _refused(self, doing: str, number: int, cure: str) -> DeviceError:
        return DeviceError.answered(f"{self.name}: DMA log: {doing}", number, cure)


def _bits(first: int, behind: int) -> int:
    """Those of a chunk from first up to behind, which may lie beyond its ends."""
    first, behind = max(first, 0), min(behind, _CHUNK)
    return (1 << behind) - (1 << first) if first < behind else 0


def _in_pages(dirty: Interval, within: Interval, page_size: int) -> Interval:
    """The pages of a range, counted from its beginning, that an interval touches."""
    start = (max(dirty.start, within.start) - within.start) // page_size
    end = -(-(min(dirty.end, within.end) - within.start) // page_size)
    return Interval(
        within.start + start * page_size, min(within.start + end * page_size, within.end)
    )
