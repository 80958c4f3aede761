# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux on a drive, the lab's or a model, by one command on a host that need have none of it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pyvmm.config import load
from pyvmm.debian.errors import Unreachable
from pyvmm.linux import prepare
from tests.conftest import ROOT, missing_for_lab
from tests.kvm.docs.conftest import blocks, check_output

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.timeout(600),
]
README = "../README.md"
_, SHOWN, _ = blocks(README, "text")
DEMO = re.compile(r"^demo-linux: .*\n\t\$\(BIN\)/pyvmm (.*)$", re.MULTILINE)
(COMMAND,) = DEMO.findall((ROOT / "Makefile").read_text())


@pytest.fixture(autouse=True)
def _can_fetch() -> None:
    try:
        prepare(load(ROOT / "configs/linux-nvme.yaml"))
    except Unreachable as error:
        pytest.skip(f"nothing can be fetched here: {error}")


@pytest.mark.proof
def test_linux_uses_a_drive_as_the_readme_shows() -> None:
    assert f"$ .venv/bin/pyvmm {COMMAND}\n" in [block.code for block in blocks(README, "console")]
    done = subprocess.run(
        [sys.executable, "-m", "pyvmm", *COMMAND.split()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    check_output(SHOWN.code, done.stdout)


@pytest.mark.proof
def test_linux_makes_a_file_system_on_a_model() -> None:
    drive = "devices=[{model: nvme, process: true, options: {size: 64M}}]"
    command = ["run", "--lab", "--memory", "2G", "configs/linux-nvme.yaml", "--set", drive]
    done = subprocess.run(
        [sys.executable, "-m", "pyvmm", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = done.stdout.splitlines()
    assert lines[0].startswith("drive: pyvmm NVMe controller, serial pyvmm-")
    for line in ("they are the same", "it is made", "it is mounted again", "the file is the same"):
        assert f"  ok   {line}" in lines
    assert lines[-1] == "PASS"
