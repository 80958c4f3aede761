# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux on a drive of the lab's by one command, from a host that need have none of it."""

from __future__ import annotations

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
_, SHOWN, _ = blocks("../README.md", "text")
COMMAND = "run --lab --device nvme --memory 2G configs/linux-nvme.yaml"


@pytest.fixture(autouse=True)
def _can_fetch() -> None:
    try:
        prepare(load(ROOT / "configs/linux-nvme.yaml"))
    except Unreachable as error:
        pytest.skip(f"nothing can be fetched here: {error}")


@pytest.mark.proof
def test_linux_uses_a_drive_as_the_readme_shows() -> None:
    assert f"$ .venv/bin/pyvmm {COMMAND}\n" in (ROOT / "README.md").read_text()
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
