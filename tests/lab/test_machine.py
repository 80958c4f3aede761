# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VMs with a device of the host, by their configs, as the command runs them under a real KVM."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pyvmm import vfio
from tests.conftest import ROOT
from tests.lab.profiles import BY_NAME

REFUSED = 118

STATUS, IRQ_STATUS, IRQ_ACKNOWLEDGE = 0x20, 0x24, 0x64
DMA_SOURCE, DMA_DESTINATION, DMA_COUNT = 0x80, 0x88, 0x90


def run(config: str, host: str) -> subprocess.CompletedProcess[str]:
    path = str(ROOT / "configs" / f"{config}.yaml")
    command = [sys.executable, "-m", "pyvmm", "run", path, "--set", f"devices[0].host={host}"]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def quieten(edu: str) -> None:
    """Take back what other tests have left in it: QEMU's edu knows no reset."""
    with vfio.open(edu) as dev:
        bar = dev.bars[0]
        bar.u32[STATUS] = 0
        bar.u32[IRQ_ACKNOWLEDGE] = bar.u32[IRQ_STATUS]
        for register in (DMA_SOURCE, DMA_DESTINATION, DMA_COUNT):
            bar.u64[register] = 0


@pytest.mark.proof
@pytest.mark.every_kernel
@pytest.mark.usefixtures("guests")
def test_the_edu_guest(profile: str, lab_device: Callable[[str], str]) -> None:
    quieten(lab_device("edu"))
    done = run("edu-host", lab_device("edu"))
    if BY_NAME[profile].iommu == "none":
        assert done.returncode == REFUSED, done.stderr
        assert "has no IOMMU, so a guest that had it could write to all of" in done.stderr
        return
    assert_passed(done)


@pytest.mark.proof
@pytest.mark.usefixtures("guests")
def test_the_nvme_guest(lab_device: Callable[[str], str]) -> None:
    assert_passed(run("nvme-host", lab_device("nvme")))


def assert_passed(done: subprocess.CompletedProcess[str]) -> None:
    lines = done.stdout.splitlines()
    assert [line for line in lines if "FAIL" in line] == []
    assert (done.returncode, done.stderr, lines[-1:]) == (0, "", ["PASS"])
