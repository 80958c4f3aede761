# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Phases: laps that add up."""

from __future__ import annotations

from itertools import count

import pytest

from pyvmm.machine.phases import Phases


def test_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.machine.phases.perf_counter", count(10.0, 0.5).__next__)
    phases = Phases()
    assert phases.seconds == []
    assert phases.total == 0
    phases.done("first")
    phases.done("second")
    assert phases.seconds == [("first", 0.5), ("second", 0.5)]
    assert phases.total == 1.0


def test_what_came_before_counts() -> None:
    phases = Phases(("imports", 2.0))
    phases.done("more")
    assert [name for name, _ in phases.seconds] == ["imports", "more"]
    assert phases.total > 2.0
