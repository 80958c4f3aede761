# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IovaAllocator: finds room in a DMA space. Pure: it knows addresses only, and maps nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from .intervals import Interval, Intervals, intersect, merge, subtract


def _start(interval: Interval) -> int:
    return interval.start


def _end(interval: Interval) -> int:
    return interval.end


class IovaAllocator:
    """The free IOVAs of a space, as sorted intervals that don't touch; finds the first fit.

    From the bottom, because many devices have fewer address bits than the IOMMU.
    """

    def __init__(self, ranges: Iterable[Interval], taken: Iterable[Interval] = ()) -> None:
        """ranges are what may be mapped at all, taken is what is mapped already."""
        self._ranges = merge(ranges)
        self._free = list(subtract(self._ranges, taken))

    @property
    def free(self) -> Intervals:
        return tuple(self._free)

    def find(self, size: int, alignment: int, *, below: int = 1 << 64) -> int | None:
        """The lowest free IOVA with room for size bytes that end at or before `below`.

        It is a multiple of alignment, a power of two. None if there is no such room.
        """
        for gap in self._free:
            start = (gap.start + alignment - 1) & -alignment
            if start + size > below:
                return None
            if start + size <= gap.end:
                return start
        return None

    def take(self, interval: Interval) -> None:
        """The interval is free no more, as far as it was."""
        first = bisect_right(self._free, interval.start, key=_end)
        last = bisect_left(self._free, interval.end, key=_start)
        if interval.size and first < last:
            left = Interval(self._free[first].start, interval.start)
            right = Interval(interval.end, self._free[last - 1].end)
            self._free[first:last] = [rest for rest in (left, right) if rest.size]

    def give(self, interval: Interval) -> None:
        """The interval is free again, as far as it may be mapped at all."""
        for start, end in intersect(self._ranges, (interval,)):
            first = bisect_left(self._free, start, key=_end)
            last = bisect_right(self._free, end, key=_start)
            if first < last:
                start = min(start, self._free[first].start)
                end = max(end, self._free[last - 1].end)
            self._free[first:last] = [Interval(start, end)]
