# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What README.md and docs/lab.md show of the lab: the commands and the script do it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from ast import literal_eval

import pytest

from tests.conftest import ROOT, missing_for_lab
from tests.kvm.docs.conftest import blocks

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.timeout(400),
]
# The environment in which the tests run.
PROGRAMS = {
    ".venv/bin/pyvmm": [sys.executable, "-m", "pyvmm"],
    ".venv/bin/python": [sys.executable],
}


def output_of(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_driver_reads_what_the_readme_shows() -> None:
    (block,) = (
        block for block in blocks("../README.md", "console") if "examples/nvme.py" in block.code
    )
    line, _, shown = block.code.partition("\n")
    prompt, *words = shlex.split(line)
    assert prompt == "$"
    assert "LABNVME block 00" in shown
    command = [part for word in words for part in PROGRAMS.get(word, [word])]
    assert output_of(command) == shown


@pytest.mark.proof
def test_the_script_does_what_the_page_says() -> None:
    (block,) = blocks("lab.md", "python")
    (printed,) = (line for line in block.code.splitlines() if "print(lab.devices)" in line)
    devices, described = output_of([sys.executable, "-c", block.code]).split("\n", 1)
    assert literal_eval(devices) == literal_eval(printed.partition("# ")[2])
    assert described.startswith("0000:04:00.0 Unclassified device: [1234:11e8]")
