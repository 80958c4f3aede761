# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The benchmarks' arithmetic: turns, medians, ratios by pairs, goals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import measure
from bench.measure import Summary

TIMES = st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=1, max_size=20)


class Contenders:
    """Contenders that note who was called, and return 1, 2, 3, ... of their own."""

    def __init__(self, *names: str) -> None:
        self.called: list[str] = []
        self.by_name = {name: self._contender(name) for name in names}

    def _contender(self, name: str) -> Callable[[], float]:
        def measure() -> float:
            self.called.append(name)
            return self.called.count(name)

        return measure


def test_contenders_take_turns_after_a_round_that_does_not_count() -> None:
    contenders = Contenders("a", "b")
    samples = measure.take_turns(contenders.by_name, 3, 100, clock=lambda: 0)
    assert contenders.called == ["a", "b"] * 4
    assert samples == {"a": [2, 3, 4], "b": [2, 3, 4]}


def test_no_round_starts_when_the_time_is_up() -> None:
    clock = iter(range(100))
    contenders = Contenders("a", "b")
    samples = measure.take_turns(contenders.by_name, 50, 2, clock=lambda: next(clock))
    assert samples == {"a": [2, 3], "b": [2, 3]}


def test_one_round_counts_however_long_it_takes() -> None:
    clock = iter([0.0, 1000.0])
    contenders = Contenders("a")
    samples = measure.take_turns(contenders.by_name, 50, 2, clock=lambda: next(clock))
    assert samples == {"a": [2]}


def test_a_summary_is_median_least_and_greatest() -> None:
    assert measure.summary([9.0, 1.0, 2.0]) == Summary(2.0, 1.0, 9.0)


def test_ratios_are_taken_within_rounds() -> None:
    # The machine was ten times slower in the second round, for both.
    assert measure.ratio([1.0, 10.0, 1.2], [2.0, 20.0, 2.0]) == 0.5


def test_differences_are_taken_within_rounds() -> None:
    assert measure.difference([3.0, 102.0, 4.0], [1.0, 100.0, 1.0]) == 2.0


@pytest.mark.parametrize("function", [measure.ratio, measure.difference])
def test_samples_of_different_rounds_are_no_pairs(
    function: Callable[[list[float], list[float]], float],
) -> None:
    with pytest.raises(ValueError, match="zip"):
        function([1.0], [1.0, 2.0])


@given(TIMES, st.floats(min_value=0.1, max_value=10))
def test_a_ratio_finds_the_factor(base: list[float], factor: float) -> None:
    assert measure.ratio([factor * value for value in base], base) == pytest.approx(factor)


@given(TIMES)
def test_a_summary_is_ordered(values: list[float]) -> None:
    found = measure.summary(values)
    assert found.low <= found.median <= found.high


@pytest.mark.parametrize(
    ("ours", "at_most", "below"), [(7.0, True, True), (8.0, True, False), (9.0, False, False)]
)
def test_goals_at_their_limits(ours: float, at_most: bool, below: bool) -> None:
    samples = {"ours": [ours], "theirs": [16.0]}
    (goal,) = measure.at_most_times(0.5, samples, "ours", "theirs")
    assert (goal.value, goal.met) == (ours / 16, at_most)
    (goal,) = measure.below_times(0.5, samples, "ours", "theirs")
    assert (goal.value, goal.met) == (ours / 16, below)
    (goal,) = measure.below_above(-8, "ms", samples, "ours", "theirs")
    assert (goal.value, goal.met) == (ours - 16, below)


def test_there_is_no_goal_without_its_base() -> None:
    samples = {"ours": [1.0]}
    assert measure.at_most_times(1, samples, "ours", "theirs") == ()
    assert measure.below_times(1, samples, "ours", "theirs") == ()
    assert measure.below_above(1, "ms", samples, "ours", "theirs") == ()


def test_exactly_means_every_sample() -> None:
    (goal,) = measure.exactly(0, {"ours": [0.0, 0.0]}, "ours")
    assert (goal.value, goal.met) == (0, True)
    (goal,) = measure.exactly(0, {"ours": [0.0, -0.5, 0.25]}, "ours")
    assert (goal.value, goal.met) == (-0.5, False)
