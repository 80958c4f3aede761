# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Exit statuses: each failure has one of its own, which the help tells."""

from __future__ import annotations

import pytest

from pyvmm.cli import exit_codes
from pyvmm.cli.main import main
from pyvmm.machine import End, Outcome

CODES = {
    name: value for name, value in vars(exit_codes).items() if name.isupper() and type(value) is int
}


def test_each_is_distinct() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_none_is_the_guests_or_the_shells() -> None:
    assert all(99 < code < 126 for name, code in CODES.items() if name != "OK")


def test_the_help_tells_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {str(code) for code in CODES.values()} <= shown
    assert {code for code, _ in exit_codes.TABLE} == {*CODES.values(), "1-99", "128+N"}


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        (End.EXIT, 0, 0),
        (End.EXIT, 1, 1),
        (End.EXIT, 99, 99),
        # A shell sees the low byte, and a failure must not look like a success.
        (End.EXIT, 0x100, 1),
        (End.EXIT, 0x1FF, 0xFF),
        (End.POWER_OFF, None, 0),
        (End.RESET, None, exit_codes.GUEST_RESET),
        (End.PANIC, None, exit_codes.GUEST_PANIC),
        (End.STOPPED, None, 0),
        (End.CRASH, None, exit_codes.GUEST_CRASH),
        (End.TIMEOUT, None, exit_codes.TIMEOUT),
        (End.RESET_FAILED, None, exit_codes.HOST_CALL),
        (End.INTERNAL, None, exit_codes.INTERNAL),
    ],
)
def test_of_a_runs_outcome(end: End, code: int | None, status: int) -> None:
    assert exit_codes.of_outcome(Outcome(end, "", code=code)) == status
