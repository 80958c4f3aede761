# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of real devices in guests: MSI-X with many vectors, INTx, lines that are shared."""

from __future__ import annotations

import re
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_COMMAND,
    PCI_COMMAND_MEMORY,
    PCI_MSI_ADDRESS_LO,
    PCI_MSI_FLAGS,
    PCI_MSI_FLAGS_ENABLE,
    PCI_MSIX_FLAGS,
    PCI_MSIX_FLAGS_ENABLE,
    PCI_MSIX_FLAGS_MASKALL,
    PCI_MSIX_FLAGS_QSIZE,
    PCI_MSIX_TABLE,
    PCI_MSIX_TABLE_BIR,
)
from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio.device import IrqData
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice
from pyvmm.vfio.pci_capabilities import capabilities
from tests.lab.conftest import MakeVm

GetDevice = Callable[[str], str]

pytestmark = pytest.mark.proof

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
    before = [(0, 1), (0, 0)] if plugged.device.irq_info(MSIX).noresize else [(0, 1)]
    all_33 = calls.index((0, 33))
    assert calls[all_33 - len(before) - 1 : all_33] == [(0, 0), *before]


@pytest.fixture
def _many_files() -> Iterator[None]:
    """As many hosts have it: each vector takes two."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.profiles("6.12", "6.1")
@pytest.mark.backends("type1v2")
@pytest.mark.usefixtures("_many_files")
def test_more_vectors_than_the_host_has(
    profile: str, backend: str, make_vm: MakeVm, neighbours: dict[str, str]
) -> None:
    """A host with one CPU can't serve 2048: it gives those that it can, and that is told."""
    vm = make_vm("hello", neighbours["nvme"])
    vm.machine.build()
    (plugged,) = vm.machine.devices
    function, memory = plugged.function, vm.machine.mmio
    (capability,) = (
        c.offset for c in capabilities(function.config_read) if c.id == PCI_CAP_ID_MSIX
    )
    control = capability + PCI_MSIX_FLAGS
    assert function.config_read(control, 2) & PCI_MSIX_FLAGS_QSIZE == 2047
    table = function.config_read(capability + PCI_MSIX_TABLE, 4)
    (bar,) = (bar for bar in function.bars if bar.index == table & PCI_MSIX_TABLE_BIR)
    start = bar.address + (table & ~PCI_MSIX_TABLE_BIR)
    function.config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY)
    function.config_write(control, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
    # Where they can't be added, it takes long to have so many, and several attempts.
    for vector in range(300 if plugged.device.irq_info(MSIX).noresize else 2048):
        for field, value in ((0, 0xFEE00000), (8, 0x40), (12, 0)):
            _, write, offset = memory.lookup(start + 16 * vector + field, 4)
            write(offset, 4, value)
    function.config_write(control, 2, PCI_MSIX_FLAGS_ENABLE)
    (notice,) = vm.notices
    found = re.search(r"giving interrupt vector (\d+) an eventfd: ENOSPC", notice)
    assert found, notice
    interrupts = Path("/proc/interrupts").read_text()
    assert interrupts.count(f"({neighbours['nvme']})") == int(found[1]) > 50
    assert f"vfio-msix[{int(found[1]) - 1}]({neighbours['nvme']})" in interrupts
    function.config_write(control, 2, 0)
    assert f"({neighbours['nvme']})" not in Path("/proc/interrupts").read_text().replace(
        f"vfio-intx({neighbours['nvme']})", ""
    )


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


@pytest.mark.profiles("igb")
@WITH_GUESTS
def test_as_many_messages_of_msi_as_there_are(
    profile: str, backend: str, make_vm: MakeVm, lab_device: GetDevice
) -> None:
    """16: a host that remaps interrupts has them all, in a row as the device wants them."""
    vm = make_vm("hello", lab_device("nec-usb-xhci"))
    vm.machine.build()
    (plugged,) = vm.machine.devices
    function, name = plugged.function, plugged.device.name
    (at,) = (c.offset for c in capabilities(function.config_read) if c.id == PCI_CAP_ID_MSI)
    off = function.config_read(at + PCI_MSI_FLAGS, 2)
    function.config_write(at + PCI_MSI_ADDRESS_LO, 4, 0xFEE00000)
    for messages in (16, 4, 1, 16):
        size = messages.bit_length() - 1
        function.config_write(at + PCI_MSI_FLAGS, 2, off | size << 4 | PCI_MSI_FLAGS_ENABLE)
        interrupts = Path("/proc/interrupts").read_text()
        assert re.findall(rf"vfio-msi\[(\d+)\]\({name}\)", interrupts) == [
            str(message) for message in range(messages)
        ]
        function.config_write(at + PCI_MSI_FLAGS, 2, off)
        assert f"vfio-msi[0]({name})" not in Path("/proc/interrupts").read_text()
    assert vm.notices == []


def on_one_line(*bdfs: str) -> list[dict[str, object]]:
    """In slots whose INTA is the same."""
    return [{"host": bdf, "slot": slot} for bdf, slot in zip(bdfs, ("03.0", "07.0"), strict=True)]
