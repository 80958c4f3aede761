# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IntervalMap: things at disjoint intervals, found by address; the form of every DMA table."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

from .intervals import Interval

T = TypeVar("T")


class IntervalMap(Generic[T]):
    """A value for each of a number of intervals, none of which is empty or overlaps another.

    Finding takes logarithmic time. Not safe by itself to change from several threads.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._intervals: list[Interval] = []
        self._values: list[T] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[T]:
        """The values, by rising address, as they are now: changes meanwhile don't show."""
        return iter(tuple(self._values))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """By rising address. Intervals that touch stay apart."""
        return tuple(self._intervals)

    def overlapping(self, interval: Interval) -> Interval | None:
        """The lowest of the intervals that has an address in common with this one."""
        at = bisect_right(self._starts, interval.start)
        for candidate in self._intervals[max(0, at - 1) : at + 1]:
            if candidate.overlaps(interval):
                return candidate
        return None

    def add(self, interval: Interval, value: T) -> None:
        """The interval is not empty and overlaps none that is there."""
        at = bisect_left(self._starts, interval.start)
        self._starts.insert(at, interval.start)
        self._intervals.insert(at, interval)
        self._values.insert(at, value)

    def get(self, interval: Interval) -> T | None:
        """The value of exactly this interval."""
        at = self._index(interval)
        return None if at is None else self._values[at]

    def at(self, address: int) -> T | None:
        """The value of the interval with this address in it."""
        at = bisect_right(self._starts, address) - 1
        return self._values[at] if at >= 0 and address < self._intervals[at].end else None

    def pop(self, interval: Interval) -> T | None:
        """Take out exactly this interval; its value, None if it is not there."""
        at = self._index(interval)
        if at is None:
            return None
        del self._starts[at], self._intervals[at]
        return self._values.pop(at)

    def clear(self) -> None:
        self._starts, self._intervals, self._values = [], [], []

    def _index(self, interval: Interval) -> int | None:
        at = bisect_left(self._starts, interval.start)
        return at if at < len(self._starts) and self._intervals[at] == interval else None
