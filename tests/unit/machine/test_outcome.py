# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Outcome: which runs count as good ones."""

from __future__ import annotations

import pytest

from pyvmm.machine import End, Outcome


@pytest.mark.parametrize(
    ("end", "code", "good"),
    [
        (End.EXIT, 0, True),
        (End.EXIT, 1, False),
        (End.POWER_OFF, None, True),
        (End.RESET, None, False),
        (End.CRASH, None, False),
        (End.TIMEOUT, None, False),
        (End.STOPPED, None, False),
        (End.INTERNAL, None, False),
    ],
)
def test_good_runs(end: End, code: int | None, good: bool) -> None:
    outcome = Outcome(end, "so it ended", code=code)
    assert outcome.ok is good
    assert repr(outcome) == f"<Outcome {end.value}: so it ended>"
    outcome.device_errors = (RuntimeError("a device was lost"),)
    assert not outcome.ok
