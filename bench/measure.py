# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Measuring: contenders that take turns, medians, ratios by pairs, goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import monotonic
from typing import NamedTuple, TypeVar

T = TypeVar("T")

Samples = Mapping[str, Sequence[float]]
"""What was measured, by contender, in the order of the rounds; what has a goal better be small."""


class Summary(NamedTuple):
    median: float
    low: float
    high: float


class Goal(NamedTuple):
    """What was wanted and what came out."""

    text: str
    value: float
    met: bool


class Row(NamedTuple):
    """One thing that was measured: samples in unit, and what was wanted of them."""

    title: str
    unit: str
    samples: Samples
    goals: tuple[Goal, ...] = ()


def take_turns(
    contenders: Mapping[str, Callable[[], T]],
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = monotonic,
) -> dict[str, list[T]]:
    """Call the contenders A B C A B C ..., and return what each call returned.

    What slows the machine down for a while slows all of them down. One round more comes first
    and doesn't count: it fills caches. After seconds no further round starts, but one counts.
    """
    for contender in contenders.values():
        contender()
    samples: dict[str, list[T]] = {name: [] for name in contenders}
    end = clock() + seconds
    for _ in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(contender())
        if clock() >= end:
            break
    return samples


def summary(values: Sequence[float]) -> Summary:
    return Summary(median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """How many times base: the median of the rounds' own ratios."""
    return median(value / other for value, other in zip(values, base, strict=True))


def difference(values: Sequence[float], base: Sequence[float]) -> float:
    """How far above base: the median of the rounds' own differences."""
    return median(value - other for value, other in zip(values, base, strict=True))


def at_most_times(limit: float, samples: Samples, name: str, base: str) -> tuple[Goal, ...]:
    """The goal that name takes at most limit times what base takes; none if base wasn't there."""
    if base not in samples:
        return ()
    value = ratio(samples[name], samples[base])
    return (Goal(f"at most {limit:g} of {base}", value, value <= limit),)


def at_least_times(limit: float, samples: Samples, name: str, base: str) -> tuple[Goal, ...]:
    """The goal that name does at least limit times what base does; none if base wasn't there."""
    if base not in samples:
        return ()
    value = ratio(samples[name], samples[base])
    return (Goal(f"at least {limit:g} of {base}", value, value >= limit),)


def below_times(limit: float, samples: Samples, name: str, base: str) -> tuple[Goal, ...]:
    """The goal that name takes less than limit times what base takes."""
    if base not in samples:
        return ()
    value = ratio(samples[name], samples[base])
    return (Goal(f"below {limit:g} of {base}", value, value < limit),)


def below_above(
    limit: float, unit: str, samples: Samples, name: str, base: str
) -> tuple[Goal, ...]:
    """The goal that name takes less than limit more than base takes, in unit."""
    if base not in samples:
        return ()
    value = difference(samples[name], samples[base])
    return (Goal(f"less than {limit:g} {unit} above {base}", value, value < limit),)


def exactly(limit: float, samples: Samples, name: str) -> tuple[Goal, ...]:
    """The goal that each sample of name is limit."""
    value = max(samples[name], key=lambda sample: abs(sample - limit))
    return (Goal(f"{limit:g}", value, value == limit),)
