# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Sets of half-open intervals, as pure functions: the areas of a region, the ranges of an IOAS.

A set is given as any iterable of intervals, in any order, overlapping or empty ones included.
It is returned in normal form: a tuple, sorted, no empty interval, none that overlap or touch.
Two sets are equal exactly when their normal forms are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Interval(NamedTuple):
    """The integers from start up to, but not including, end."""

    start: int
    end: int

    @classmethod
    def sized(cls, start: int, size: int) -> Interval:
        """The interval of size integers that begins at start."""
        return cls(start, start + size)

    @property
    def size(self) -> int:
        """How many integers it holds; 0 if it is empty, also when end < start."""
        return max(0, self.end - self.start)

    def covers(self, other: Interval) -> bool:
        """Whether all of other, which must not be empty, lies within."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Interval) -> bool:
        """Whether they have an integer in common."""
        return max(self.start, other.start) < min(self.end, other.end)

    def __str__(self) -> str:
        return f"[{self.start:#x}, {self.end:#x})"


Intervals = tuple[Interval, ...]


def merge(intervals: Iterable[Interval]) -> Intervals:
    """The normal form of a set; with two sets chained, their union."""
    merged: list[Interval] = []
    for start, end in sorted(i for i in intervals if i.start < i.end):
        if merged and start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Interval(start, end))
    return tuple(merged)


def subtract(intervals: Iterable[Interval], holes: Iterable[Interval]) -> Intervals:
    """What of a set lies in no hole."""
    left: list[Interval] = []
    cuts = merge(holes)
    for start, end in merge(intervals):
        for hole in cuts:
            if hole.end <= start:
                continue
            if hole.start >= end:
                break
            if start < hole.start:
                left.append(Interval(start, hole.start))
            start = hole.end
        if start < end:
            left.append(Interval(start, end))
    return tuple(left)


def intersect(one: Iterable[Interval], other: Iterable[Interval]) -> Intervals:
    """What lies in both sets."""
    others = merge(other)
    return merge(
        Interval(max(a.start, b.start), min(a.end, b.end))
        for a in merge(one)
        for b in others
        if a.overlaps(b)
    )


def gaps(within: Interval, intervals: Iterable[Interval]) -> Intervals:
    """What of one interval a set leaves free."""
    return subtract((within,), intervals)


def align_outwards(intervals: Iterable[Interval], page: int) -> Intervals:
    """The pages a set touches. page is a power of two, in bytes."""
    return merge(
        Interval(i.start & -page, (i.end + page - 1) & -page) for i in intervals if i.start < i.end
    )


def align_inwards(intervals: Iterable[Interval], page: int) -> Intervals:
    """The pages a set has whole. page is a power of two, in bytes."""
    return merge(Interval((i.start + page - 1) & -page, i.end & -page) for i in merge(intervals))
