# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of real devices in guests: MSI-X with many vectors, INTx, lines that are shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio.device import IrqData
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice
from tests.lab.conftest import MakeVm

GetDevice = Callable[[str], str]

WITH_GUESTS = pytest.mark.backends("type1v2", "iommufd")
MSIX = VFIO_PCI_MSIX_IRQ_INDEX


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Each time that a device was told of MSI-X: (first vector, how many)."""
    made: list[tuple[int, int]] = []
    really = KernelDevice.set_irqs

    def set_irqs(
        self: KernelDevice, index: int, action: int, start: int, count: int, data: IrqData
    ) -> None:
        if index == MSIX:
            made.append((start, count))
        really(self, index, action, start, count, data)

    monkeypatch.setattr(KernelDevice, "set_irqs", set_irqs)
    return made


@WITH_GUESTS
def test_an_nvme_controller(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, calls: list[tuple[int, int]]
) -> None:
    """MSI-X with 33 vectors, their masks, INTx, and drivers that change between them."""
    vm = make_vm("nvme", lab_device("nvme"), cmdline="labelled")
    assert "  ok   20 drivers, in turn with INTx and MSI-X" in vm.run()
    assert vm.notices == []
    (plugged,) = vm.machine.devices
    assert plugged.function.guard.counts == Counter()
    # Switched on, then all 33 at once: where they can't be added, with a switch-off in between.
    dynamic = not plugged.device.irq_info(MSIX).noresize
    first = calls.index((0, 33))
    assert calls[:first] == ([(0, 1)] if dynamic else [(0, 1), (0, 0)])


@WITH_GUESTS
def test_a_line_that_two_groups_share(backend: str, make_vm: MakeVm, lab_device: GetDevice) -> None:
    vm = make_vm("nvme", *on_one_line(lab_device("nvme"), lab_device("edu")), cmdline="shared")
    assert "  ok   both: edu is heard 1 time" in vm.run()
    assert vm.notices == []
    nvme, edu = (plugged.device for plugged in vm.machine.devices)
    assert nvme.dma is edu.dma, "one space for all"
    assert HostFunction(nvme.name).group != HostFunction(edu.name).group


@WITH_GUESTS
def test_a_line_that_two_of_a_group_share(
    backend: str, make_vm: MakeVm, neighbours: dict[str, str]
) -> None:
    devices = on_one_line(neighbours["edu"], neighbours["nvme"])
    vm = make_vm("nvme", *devices, cmdline="shared")
    assert "  ok   both: edu is heard 1 time" in vm.run()
    assert vm.notices == []


def on_one_line(*bdfs: str) -> list[dict[str, object]]:
    """In slots whose INTA is the same."""
    return [{"host": bdf, "slot": slot} for bdf, slot in zip(bdfs, ("03.0", "07.0"), strict=True)]
