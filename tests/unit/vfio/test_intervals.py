# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The functions on sets of intervals agree with the same on sets of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio.intervals import (
    Interval,
    Intervals,
    align_inwards,
    align_outwards,
    gaps,
    intersect,
    merge,
    subtract,
)

intervals = st.lists(st.builds(Interval, st.integers(0, 60), st.integers(0, 60)), max_size=8)
pages = st.sampled_from([1, 2, 4, 8, 16])


def members(some: list[Interval] | Intervals) -> set[int]:
    return {number for interval in some for number in range(interval.start, interval.end)}


def assert_normal(result: Intervals) -> None:
    assert all(interval.start < interval.end for interval in result)
    assert all(one.end < other.start for one, other in pairwise(result))


@given(intervals)
def test_merge(some: list[Interval]) -> None:
    assert members(merge(some)) == members(some)
    assert_normal(merge(some))


@given(intervals, intervals)
def test_subtract(some: list[Interval], holes: list[Interval]) -> None:
    assert members(subtract(some, holes)) == members(some) - members(holes)
    assert_normal(subtract(some, holes))


@given(intervals, intervals)
def test_intersect(one: list[Interval], other: list[Interval]) -> None:
    assert members(intersect(one, other)) == members(one) & members(other)
    assert_normal(intersect(one, other))


@given(intervals, intervals)
def test_gaps_and_what_is_there_make_the_whole(whole: list[Interval], some: list[Interval]) -> None:
    for within in whole:
        free = gaps(within, some)
        assert_normal(free)
        assert members(free) == members([within]) - members(some)


@given(intervals, pages)
def test_align_outwards(some: list[Interval], page: int) -> None:
    touched = {number // page for number in members(some)}
    result = align_outwards(some, page)
    assert {number // page for number in members(result)} == touched
    assert len(members(result)) == len(touched) * page
    assert_normal(result)


@given(intervals, pages)
def test_align_inwards(some: list[Interval], page: int) -> None:
    whole = members(some)
    result = align_inwards(some, page)
    expected = {
        number
        for number in whole
        if all(other in whole for other in range(number & -page, (number & -page) + page))
    }
    assert members(result) == expected
    assert_normal(result)


def test_an_interval() -> None:
    interval = Interval.sized(0x1000, 0x800)
    assert interval == (0x1000, 0x1800)
    assert interval.size == 0x800
    assert Interval(5, 3).size == 0
    assert interval.covers(Interval(0x1000, 0x1800))
    assert not interval.covers(Interval(0x1000, 0x1801))
    assert interval.overlaps(Interval(0x17FF, 0x2000))
    assert not interval.overlaps(Interval(0x1800, 0x2000))
    assert not interval.overlaps(Interval(0x1400, 0x1400))
    assert str(interval) == "[0x1000, 0x1800)"
