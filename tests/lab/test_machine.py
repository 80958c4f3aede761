# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VM with a device of the host: the guest drives QEMU's edu through VFIO, under a real KVM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab.profiles import BY_NAME

CONFIG = ROOT / "configs" / "edu-host.yaml"
REFUSED = 118


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyvmm", "run", str(CONFIG), *arguments]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.every_kernel
@pytest.mark.usefixtures("guests")
def test_the_edu_guest(profile: str, lab_device: Callable[[str], str]) -> None:
    done = run("--set", f"devices[0].host={lab_device('edu')}")
    if BY_NAME[profile].iommu == "none":
        assert done.returncode == REFUSED, done.stderr
        assert "has no IOMMU, so a guest that had it could write to all of" in done.stderr
        return
    failed = [line for line in done.stdout.splitlines() if "FAIL" in line]
    assert (done.returncode, done.stderr, failed) == (0, "", [])
    assert done.stdout.splitlines()[-1] == "PASS"


@pytest.mark.usefixtures("guests")
def test_a_device_that_another_process_has(lab_device: Callable[[str], str]) -> None:
    """Busy is told with who has it."""
    edu = lab_device("edu")
    hold = "import sys, pyvmm.vfio as v; d = v.open(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, edu],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = run("--set", f"devices[0].host={edu}")
        assert done.returncode == REFUSED
        assert f"is open in python (process {holder.pid} of root)\n" in done.stderr
        holder.communicate(b"\n")
    assert holder.returncode == 0


@pytest.mark.usefixtures("guests")
def test_a_device_that_vfio_does_not_have() -> None:
    bridge = next(
        path.name
        for path in sorted(Path("/sys/bus/pci/devices").iterdir())
        if not (path / "driver").exists()
    )
    done = run("--set", f"devices[0].host={bridge}")
    assert done.returncode == REFUSED
    assert "pyvmm bind" in done.stderr
