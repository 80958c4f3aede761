# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Lines for what takes its time, and how much of it is done."""

from __future__ import annotations

import pytest

from pyvmm.debian.progress import step_of, steps


@pytest.mark.parametrize(
    ("message", "step", "percent"),
    [
        ("unpacking it", "unpacking it", None),
        ("fetching it: 20 %", "fetching it", 20),
        ("fetching a: b: 100 %", "fetching a: b", 100),
        ("fetching it: some %", "fetching it: some %", None),
    ],
)
def test_how_much_of_a_step_is_done(message: str, step: str, percent: int | None) -> None:
    assert step_of(message) == (step, percent)


def test_each_step_is_told_as_it_begins() -> None:
    told: list[str] = []
    progress = steps(told.append)
    for message in ("reading", "fetching a: 1 %", "fetching a: 2 %", "reading", "reading"):
        progress(message)
    assert told == ["reading", "fetching a", "reading"]
