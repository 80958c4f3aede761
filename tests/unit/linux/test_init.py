# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the guest's init makes of a script: lines, PASS or FAIL, and the code that ends the VM.

Here the host's shell runs it, and programs that would end the host are made up.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from pyvmm.linux.recipe import INIT

PROGRAMS = ("exit-guest", "poweroff", "reboot", "sync", "dmesg", "stty")


class Ran(NamedTuple):
    lines: list[str]
    programs: list[str]
    """Those that were called, with their arguments."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script"


@pytest.fixture
def init(tmp_path: Path, script: Path) -> str:
    """The text of init.sh, for this machine, which needs no setting up."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/called\n')
        (programs / name).chmod(0o755)
    (programs / "usleep").write_text("#!/bin/sh\n")
    (programs / "usleep").chmod(0o755)
    text = Path(INIT).read_text()
    for old, new in (
        ("PATH=/bin\n", f"PATH={programs}:/usr/bin:/bin\n"),
        ("/run/failed-checks", str(tmp_path / "failed")),
        ("/script", str(script)),
        ("\nset_up\n", "\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def run(init: str, script: Path, text: str, said: str = "") -> Ran:
    script.write_text(text)
    done = subprocess.run(["sh", "-c", init], capture_output=True, text=True, check=False)
    assert done.stderr == said
    called = (script.parent / "called").read_text().splitlines()
    return Ran(done.stdout.splitlines(), called)


@pytest.mark.parametrize(
    ("text", "lines", "code"),
    [
        ("echo hello", ["hello", "PASS"], 0),
        ("check 'one is one' [ 1 = 1 ]", ["  ok   one is one", "PASS"], 0),
        ("check 'it is' false", ["  FAIL it is", "FAIL: 1 check failed"], 1),
        ("fail a; fail b; ok c", ["  FAIL a", "  FAIL b", "  ok   c", "FAIL: 2 checks failed"], 1),
        ("exit 3", ["FAIL: the script ended with status 3"], 3),
        ("fail a; exit 3", ["  FAIL a", "FAIL: 1 check failed"], 3),
        ("(fail 'in a subshell') | cat", ["  FAIL in a subshell", "FAIL: 1 check failed"], 1),
        ("check a false || exit 0", ["  FAIL a", "FAIL: 1 check failed"], 1),
        ("check a true && echo b", ["  ok   a", "b", "PASS"], 0),
    ],
)
def test_how_a_script_ends_is_how_the_guest_ends(
    init: str, script: Path, text: str, lines: list[str], code: int
) -> None:
    ran = run(init, script, text)
    assert ran.lines == lines
    # In this order: nothing comes after the last line, and all of it is out before the end.
    before = ["sync", "dmesg -n 1", "stty -F /dev/console onlcr"]
    assert ran.programs[:4] == [*before, f"exit-guest {code}"]


@pytest.mark.parametrize(
    ("text", "first"), [("true", "poweroff -f"), ("fail a", "reboot -f"), ("exit 9", "reboot -f")]
)
def test_without_the_port_there_is_power_and_reset(
    init: str, script: Path, text: str, first: str
) -> None:
    assert run(init, script, text).programs[4] == first


def test_files_are_waited_for(init: str, script: Path, tmp_path: Path) -> None:
    late, never = tmp_path / "late", tmp_path / "never"
    (tmp_path / "programs" / "usleep").write_text(f"#!/bin/sh\ntouch {late}\n")
    text = f"wait_for {late} 9 && echo there\nwait_for {never} 1 || echo not there\n"
    assert run(init, script, text).lines == ["there", "not there", "PASS"]


def test_a_script_that_is_killed(init: str, script: Path) -> None:
    ran = run(init, script, "sh -c 'kill -9 $PPID'", said="Killed\n")
    assert ran.lines == ["FAIL: the script ended with status 137"]
    assert "exit-guest 137" in ran.programs


def test_a_program_the_script_breaks_off_at_is_no_pass(init: str, script: Path) -> None:
    ran = run(init, script, "set -e\nfalse\necho never\n")
    assert ran.lines == ["FAIL: the script ended with status 1"]
