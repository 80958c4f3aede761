# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Progress as lines and on a terminal."""

from __future__ import annotations

import sys

import pytest

from pyvmm.cli.progress import progress

STEPS = ("reading", "fetching it: 0 %", "fetching it: 50 %", "fetching it: 100 %", "making")


def test_a_line_for_each_step(capfd: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        for step in STEPS:
            tell(step)
    assert capfd.readouterr().err.splitlines() == [
        "pyvmm: reading",
        "pyvmm: fetching it",
        "pyvmm: making",
    ]


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as tell:
        for step in STEPS:
            tell(step)
    shown = capsys.readouterr()
    assert "making" in shown.err
    assert "%" not in shown.err
    assert shown.out == ""


def test_a_terminal_without_rich_gets_lines(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich", None)
    with progress() as tell:
        tell("reading")
    assert capfd.readouterr().err == "pyvmm: reading\n"
