# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/driver.md: each program does what the page shows, with the device that the page serves."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kvm.docs.conftest import ROOT, Block, blocks, check_output, run

PAGE = "driver.md"
PATH = "/tmp/edu.sock"
PROGRAMS = blocks(PAGE, "python")
SERVE, *COMMANDS = blocks(PAGE, "console")


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's server, at a path of these tests' own."""
    path = str(tmp_path_factory.mktemp("driver") / "edu.sock")
    prompt, program, *arguments = shlex.split(SERVE.code.replace(PATH, path))
    assert (prompt, program) == ("$", ".venv/bin/pyvmm")
    command = [sys.executable, "-m", "pyvmm", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        assert "is served" in server.stderr.readline()
        yield path
        server.terminate()


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_the_programs(program: Block, socket: str) -> None:
    assert program.code.count(PATH) == 1
    status, output = run(["-c", program.code.replace(PATH, socket)])
    assert status == 0, output
    check_output(program.output, output)


def test_the_commands_are_there() -> None:
    for block in COMMANDS:
        for line in block.code.splitlines():
            named = [word for word in shlex.split(line) if word.startswith("examples/")]
            assert all((ROOT / word).is_file() for word in named)


def test_all_examples_are_listed() -> None:
    page = (ROOT / "docs" / PAGE).read_text()
    for example in Path(ROOT / "examples").glob("*.py"):
        assert f"](../examples/{example.name})" in page
