# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""edu under QEMU: its own edu device passes, and always with the same report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm._counted import counted

from .conftest import Run

pytestmark = pytest.mark.interop

RunGuest = Callable[..., Run]


def test_passes(run: RunGuest) -> None:
    result = run("edu", "", "-device", "edu")
    assert not result.failed
    assert result.lines[-1] == "PASS"
    assert result.code == 0
    sections = [line for line in result.lines if line.endswith(":")]
    assert sections == [
        "identity:",
        "registers:",
        "factorial by polling:",
        "DMA by polling:",
        "DMA mask of 28 bits:",
        "MSI:",
        "INTx:",
    ]


def test_report_does_not_depend_on_the_machine(run: RunGuest) -> None:
    """Elsewhere on the bus, on another interrupt line, in more memory, with more CPUs."""
    report = run("edu", "", "-device", "edu").lines
    elsewhere = run(
        *("edu", "", "-M", "pc", "-smp", "2", "-m", "512"),
        *("-device", "nvme,serial=1", "-device", "edu,addr=0x12"),
    )
    assert elsewhere.lines == report


@pytest.mark.proof
@pytest.mark.kvm
def test_report_does_not_depend_on_the_accelerator(run: RunGuest) -> None:
    report = run("edu", "", "-device", "edu").lines
    with_kvm = run("edu", "", "-M", "q35", "-accel", "kvm", "-cpu", "qemu64", "-device", "edu")
    assert with_kvm.lines == report


def test_a_broken_device_fails(run: RunGuest) -> None:
    """A mask of 20 bits puts DMA at the wrong addresses; the checks must see it."""
    result = run("edu", "", "-device", "edu,dma_mask=0xfffff")
    assert "  FAIL they are the same" in result.lines
    assert result.lines[-1] == f"FAIL: {counted(len(result.failed), 'check')} failed"
    assert result.code == 1


@pytest.mark.parametrize("guest", ["edu", "nvme", "testdev"])
def test_no_device(run: RunGuest, guest: str) -> None:
    result = run(guest)
    assert result.lines[0].startswith("  FAIL there is a")
    assert result.lines[1:] == ["FAIL: 1 check failed"]
    assert result.code == 1
