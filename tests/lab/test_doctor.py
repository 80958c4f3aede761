# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The doctor finds in each lab what that lab is made with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyvmm.doctor import examine
from pyvmm.vfio.kernel import BACKENDS
from tests.lab.profiles import BY_NAME

pytestmark = pytest.mark.lab


@pytest.mark.every_kernel
def test_what_a_lab_has(profile: str) -> None:
    offered = BY_NAME[profile].backends
    has_iommu = "noiommu" not in offered
    found = {finding.subject: finding for finding in examine()}
    for subject in ("vfio-pci", "sysfs", "KVM", "locked memory"):
        assert found[subject].ok, found[subject]
    for subject in ("IOMMU", "interrupts", "DMA", "devices"):
        assert found[subject].ok == has_iommu, found[subject]
    assert found["iommufd"].ok == ("iommufd" in offered)
    if has_iommu:
        names = [name for name in BACKENDS if name in offered]
        assert found["DMA"].text == f"by {', '.join(names)}"


@pytest.mark.proof
@pytest.mark.every_kernel
def test_the_command(profile: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pyvmm", "doctor"], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == (118 if profile == "noiommu" else 0)
    assert done.stdout.splitlines() == [str(finding) for finding in examine()]
