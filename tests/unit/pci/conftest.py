# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A machine around one assigned device, without a KVM and without a device."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from pyvmm.memory import DEVICE, AddressMap, GuestMemory
from pyvmm.pci.allocator import Windows, number_buses, place
from pyvmm.pci.assigned import Assigned
from pyvmm.pci.bus import Bus
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.host_bridge import Ecam
from pyvmm.vfio import Interval
from tests.unit.pci.fake_device import ROM, FakeDevice
from tests.unit.pci.fake_vm import FakeVm
from tests.unit.pci.functions import behind_port, reset_all

COMMAND = 0x04
IO, MEMORY, MASTER, NO_INTX = 1, 2, 4, 0x400
MSI_AT, MSIX_AT, VENDOR_AT = 0x50, 0x70, 0x90
PM_AT, EXPRESS_AT = 0x40, 0xA0
PM_CONTROL, DEVICE_CONTROL = PM_AT + 4, EXPRESS_AT + 8
ENDPOINT, LEGACY, INTEGRATED = 0, 1, 9

# Capabilities, control and status: FLR, phantom functions and extended tags; a link.
_DEVICE = (0x10008039, 0x2110, 0)
_LINK = (0x100, 0x40, 0x1103)


class Setting:
    """A machine around one assigned device, with the device at 00:03.0, or behind a port there."""

    def __init__(self, device: FakeDevice, *, behind: bool = False, **options: Any) -> None:
        self.device = device
        self.memory = GuestMemory(16 << 20)
        self.mmio = AddressMap("MMIO")
        self.ports = AddressMap("ports")
        self.vm = FakeVm()
        self.reports: list[str] = []
        self.bus = Bus()
        Ecam(self.bus).add_to(self.mmio)
        try:
            self.function = Assigned(
                device,
                memory=self.memory,
                mmio=self.mmio,
                ports=self.ports,
                vm=self.vm,
                report=self.reports.append,
                **options,
            )
        except BaseException:
            device.close()
            self.memory.close()
            raise
        if behind:
            behind_port(self.bus, self.function, device=3)
            number_buses(self.bus)
        else:
            self.bus.add(self.function, device=3)

    def read(self, offset: int, size: int) -> int:
        return self.bus.config_read(self.function.bdf, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        self.bus.config_write(self.function.bdf, offset, size, value)

    def write_port(self, offset: int, size: int, value: int) -> None:
        """A write to the port that the device is behind."""
        self.bus.config_write(3 << 3, offset, size, value)

    def load(self, address: int, size: int) -> int:
        """A guest's trapped read of memory."""
        read, _, offset = self.mmio.lookup(address, size)
        return read(offset, size)

    def store(self, address: int, size: int, value: int) -> None:
        """A guest's trapped write to memory."""
        _, write, offset = self.mmio.lookup(address, size)
        write(offset, size, value)

    def close(self) -> None:
        self.function.close()
        self.device.close()
        self.memory.close()


def device_regions(setting: Setting) -> list[tuple[int, int]]:
    """(guest-physical address, size) of what the guest reaches of devices without an exit."""
    return [(r.gpa, r.size) for r in setting.memory.regions if r.kind == DEVICE]


def make_device(kind: type[FakeDevice] = FakeDevice) -> FakeDevice:
    """BAR 0: registers, MSI-X, memory. BAR 1: I/O. BAR 2: 64 bits, all mappable. BAR 4: tiny."""
    device = kind(intx=1, msi=8, msix=16)
    device.add_region(0, 0x8000, register=0, mappable=(Interval(0, 0x8000),))
    device.add_region(1, 0x40, register=1)
    device.add_region(2, 0x10000, register=0xC, mappable=(Interval(0x2000, 0x10000),))
    device.add_region(4, 0x100, register=0)
    device.add_region(ROM, 0x1000)
    device.config[0x3D] = 2
    device.add_capability(VENDOR_AT, bytes([0x09, 0, 8, 1, 2, 3, 4, 5]))
    device.add_capability(
        MSIX_AT,
        bytes([0x11, 0, 15, 0]) + (0x1800).to_bytes(4, "little") + (0x1C00).to_bytes(4, "little"),
    )
    device.pba = 0, 0x1C00
    device.add_capability(MSI_AT, bytes([0x05, 0, 0x86, 0x01]) + bytes(20))
    return device


def dead(device: FakeDevice) -> None:
    """It answers nothing any more. The kernel's VFIO answers for it what it is."""
    device.config[4:] = b"\xff" * len(device.config[4:])


def make_express_device(
    kind: type[FakeDevice] = FakeDevice,
    *,
    type: int = ENDPOINT,
    version: int = 2,
    extended: Sequence[tuple[int, int]] = (),
) -> FakeDevice:
    """The same with power management and PCI Express, with a link of 16 lanes and with FLR.

    extended are its extended capabilities, (id, offset), the first at 0x100.
    """
    device = make_device(kind)
    device.add_capability(PM_AT, b"\x01\0" + struct.pack("<HHH", 0xFE03, 0x8100, 0))
    body = struct.pack("<BBHIHHIHH", 0x10, 0, 0x100 | type << 4 | version, *_DEVICE, *_LINK)
    body += bytes(0x24 - len(body)) + struct.pack("<IHHIHH", 0xC0830, 0x400, 0, 0xE, 3, 1)
    device.add_capability(EXPRESS_AT, body)
    for (id, at), (_, target) in pairwise([*extended, (0, 0)]):
        device.config[at : at + 4] = (target << 20 | 1 << 16 | id).to_bytes(4, "little")
    return device


@pytest.fixture
def make(no_leaks: None) -> Iterator[Callable[..., Setting]]:
    """Makes settings whose device has its BARs placed and has been reset."""
    made: list[Setting] = []

    def new(device: FakeDevice | None = None, **options: Any) -> Setting:
        setting = Setting(device or make_device(), **options)
        made.append(setting)
        place(setting.bus.functions, Windows(16 << 20, 40))
        reset_all(setting.bus)
        return setting

    yield new
    for setting in made:
        setting.close()


@pytest.fixture
def setting(make: Callable[..., Setting]) -> Setting:
    return make()


@pytest.fixture
def config() -> ConfigSpace:
    return ConfigSpace(4096)
