# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The IOVA allocator beside a set of integers: where it finds room, and that it finds all of it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyvmm.vfio import Interval
from pyvmm.vfio.iova import IovaAllocator

END = 64
intervals = st.builds(
    lambda a, b: Interval(min(a, b), max(a, b)), st.integers(0, END), st.integers(0, END)
)
alignments = st.sampled_from([1, 2, 4, 8, 16])
MSI = Interval(0xFEE00000, 0xFEF00000)


def integers(*sets: Interval) -> set[int]:
    return {i for interval in sets for i in range(interval.start, interval.end)}


class Allocator(RuleBasedStateMachine):
    """Every address is free or not; nothing that is not asked for changes."""

    @initialize(ranges=st.lists(intervals, max_size=4), taken=st.lists(intervals, max_size=4))
    def start(self, ranges: list[Interval], taken: list[Interval]) -> None:
        self.allocator = IovaAllocator(ranges, taken)
        self.ranges = integers(*ranges)
        self.free = self.ranges - integers(*taken)
        self.allocated: list[Interval] = []

    @rule(size=st.integers(1, END), alignment=alignments, below=st.integers(0, END + 8))
    def allocate(self, size: int, alignment: int, below: int) -> None:
        fitting = [
            at
            for at in range(0, END, alignment)
            if at + size <= below and integers(Interval.sized(at, size)) <= self.free
        ]
        at = self.allocator.find(size, alignment, below=below)
        assert at == (fitting[0] if fitting else None)
        if at is not None:
            self.allocated.append(Interval.sized(at, size))
            self.take(self.allocated[-1])

    @rule(interval=intervals)
    def take(self, interval: Interval) -> None:
        self.allocator.take(interval)
        self.free -= integers(interval)

    @rule(interval=intervals)
    def give(self, interval: Interval) -> None:
        self.allocator.give(interval)
        self.free |= integers(interval) & self.ranges

    @precondition(lambda self: self.allocated)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        interval = data.draw(st.sampled_from(self.allocated))
        self.allocated.remove(interval)
        self.give(interval)

    @invariant()
    def agrees(self) -> None:
        free = self.allocator.free
        assert integers(*free) == self.free
        # Normal form: no two that touch, in order, none empty.
        assert all(a.end < b.start for a, b in itertools.pairwise(free))
        assert all(i.size for i in free)


TestAllocator = Allocator.TestCase


@given(st.lists(st.integers(1, 0x10_0000), max_size=40), st.sampled_from([0x1000, 0x20_0000]))
def test_what_is_given_back_is_all_there_again(sizes: list[int], alignment: int) -> None:
    ranges = (Interval(0x1000, MSI.start), Interval(MSI.end, 1 << 39))
    allocator = IovaAllocator(ranges)
    places: list[Interval] = []
    for size in sizes:
        at = allocator.find(size, alignment)
        assert at is not None
        places.append(Interval.sized(at, size))
        allocator.take(places[-1])
    for number, place in enumerate(places):
        assert place.start % alignment == 0
        assert not any(place.overlaps(other) for other in places[:number])
    for place in reversed(places):
        allocator.give(place)
    assert allocator.free == ranges


def test_it_goes_around_the_msi_window() -> None:
    allocator = IovaAllocator((Interval(0xFED0_0000, MSI.start), Interval(MSI.end, 1 << 39)))
    assert allocator.find(0x20_0000, 0x1000) == MSI.end
    assert allocator.find(0x10_0000, 0x1000) == 0xFED0_0000


def test_from_the_bottom_and_below_a_limit() -> None:
    allocator = IovaAllocator((Interval(0, 1 << 48),), (Interval(0, 0x1000),))
    assert allocator.find(0x1000, 0x1000) == 0x1000
    allocator.take(Interval(0x1000, 0x2000))
    assert allocator.find(0x1000, 0x1000, below=0x2000) is None
    assert allocator.find(0x1000, 0x1000, below=0x3000) == 0x2000
