# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command that a failed lab test shows: what it has the lab run is one test, this one."""

from __future__ import annotations

import os
import shlex
import subprocess

from tests.lab.profiles import MAIN
from tests.lab.relay import ROOT, shown

TEST = "tests/lab/test_the_lab.py::test_the_kernel_is_the_profiles[6.12]"


def test_it_runs_the_test() -> None:
    command = shlex.split(shown(MAIN, TEST))
    assert command[1:5] == ["-m", "pyvmm", "lab", "run"]
    assert f"--timeout={MAIN.time_limit}" in command
    # Here as there, but that it is only found.
    done = subprocess.run(
        [*command[command.index("--") + 1 :], "--collect-only", "-q"],
        cwd=ROOT,
        env={**os.environ, "PYVMM_LAB": "6.12", "PYVMM_LAB_DEVICES": "nvme=0000:01:00.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == TEST
