# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/console.md: its session is what one sees, and its tables have all commands and keys."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest

from pyvmm.config import json_schema
from pyvmm.machine.keys import HELP
from pyvmm.machine.monitor import _COMMANDS, PROMPT
from tests.kvm.cli.test_terminal import Terminal
from tests.kvm.docs.conftest import ROOT, blocks, check_output

pytestmark = [pytest.mark.kvm, pytest.mark.usefixtures("guests")]

PAGE = (ROOT / "docs" / "console.md").read_text()
SESSION, SCRIPT = blocks("console.md", "console")
READY = b"q quits\r\n"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_the_session(terminal: Terminal) -> None:
    (command,) = SESSION.code.splitlines()
    name, run, *arguments = shlex.split(command)[1:]
    assert (name, run) == ("pyvmm", "run")
    arguments = [str(ROOT / one) if one.endswith(".yaml") else one for one in arguments]
    terminal.run(*arguments)
    terminal.expect(READY)
    time.sleep(0.5)  # until the guest has nothing to do and halts
    terminal.type(b"\x01c")
    typed = [
        line.removeprefix(PROMPT).encode()
        for line in SESSION.output.splitlines()
        if line.startswith(PROMPT) and line.removeprefix(PROMPT) in _COMMANDS
    ]
    assert len(typed) == 5
    for one in typed:
        terminal.expect(PROMPT.encode())
        shown, terminal.seen = terminal.seen, b""
        terminal.type(one + b"\r")
        terminal.expect(READY if one == b"reset" else PROMPT.encode())
        terminal.seen = shown + terminal.seen
    terminal.type(b"\x01x")
    terminal.expect(b"pyvmm: Ctrl-A X\r\n")
    assert terminal.status() == 0
    check_output(SESSION.output, terminal.seen.decode().replace("\r\n", "\n"))


def test_all_commands_have_a_row() -> None:
    for command in _COMMANDS:
        assert f"| `{command}` |" in PAGE


def test_all_keys_have_a_row() -> None:
    for line in HELP.splitlines():
        key = line.partition("  ")[0]
        assert f"| {key} |" in PAGE


def test_all_values_have_a_row() -> None:
    keys = json_schema()["$defs"]["VmConfig"]["properties"]
    for key in ("on_reset", "on_panic", "on_triple_fault"):
        for value in keys[key]["enum"]:
            assert f"| `{key}: {value}` |" in PAGE
