# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""nvme under QEMU: what the guest says of an assigned controller, it says of QEMU's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Run

pytestmark = pytest.mark.interop

RunGuest = Callable[..., Run]

DISK = "-drive", "if=none,id=disk,driver=null-co,size=16M"
NVME = *DISK, "-device", "nvme,drive=disk,serial=1"
USED = "used"  # SeaBIOS looks for something to boot from


def test_passes(run: RunGuest) -> None:
    result = run("nvme", USED, *NVME)
    assert not result.failed
    assert result.lines[-1] == "PASS"
    assert result.code == 0
    sections = [line for line in result.lines if line.endswith(":")]
    assert sections == [
        "DMA by polling:",
        "MSI-X:",
        "MSI-X, one vector after the other:",
        "INTx:",
        "switching between interrupts:",
    ]


def test_a_shared_line(run: RunGuest) -> None:
    """q35 has four lines for devices, and gives each fourth device the same."""
    nvme = *DISK, "-device", "nvme,drive=disk,serial=1,addr=3"
    result = run("nvme", f"{USED} shared", *nvme, "-device", "edu,addr=7")
    assert not result.failed
    assert result.lines[-1] == "PASS"


@pytest.mark.proof
def test_a_controller_that_was_not_reset_fails(run: RunGuest) -> None:
    failed = run("nvme", "leave-on", *NVME).failed
    assert "  FAIL the controller is off" in failed


def test_a_controller_with_too_few_vectors_fails(run: RunGuest) -> None:
    result = run("nvme", USED, *DISK, "-device", "nvme,drive=disk,serial=1,msix_qsize=8")
    assert result.failed == ["  FAIL there are 33 vectors at least"]
    assert result.code == 1


def test_pages_without_a_number_fail(run: RunGuest) -> None:
    result = run("nvme", f"{USED} labelled", *NVME)
    assert result.failed == ["  FAIL and begin with their numbers: got 0x0, expected 0x8"]
