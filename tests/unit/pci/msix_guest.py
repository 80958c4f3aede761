# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A guest with MSI-X, without a KVM and without a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.msix import Msix
from pyvmm.pci.vectors import HostVectors
from tests.unit.pci.fake_device import MSIX, FakeDevice
from tests.unit.pci.fake_vm import Call, FakeVm

AT = 0x70
CONTROL = AT + 2
ENABLE, MASKALL = 0x8000, 0x4000
LAPIC = 0xFEE00000


class Guest:
    """A guest's driver, its MSI-X, and the host around them."""

    def __init__(self, size: int = 8, *, noresize: bool = False) -> None:
        self.vm = FakeVm()
        self.device = FakeDevice(msix=size, noresize=noresize)
        self.host = HostVectors(self.device, MSIX, self.vm)
        self.config = ConfigSpace()
        self.msix = Msix(self.config, AT, size - 1, 0x800 | 0, 0xC00 | 1, self.host)

    def reconcile(self) -> None:
        self.msix.reconcile(self.msix.enabled)
        self.vm.run()

    def control(self, value: int) -> None:
        self.config.write(CONTROL, 2, value)
        self.reconcile()

    def store(self, vector: int, field: int, value: int, size: int = 4) -> None:
        self.msix.write_table(16 * vector + field, size, value)
        self.reconcile()

    def message(self, vector: int, address: int = LAPIC, data: int | None = None) -> None:
        """Fill in an entry; its data is the vector number, unless told."""
        self.store(vector, 0, address & 0xFFFFFFFF)
        self.store(vector, 4, address >> 32)
        self.store(vector, 8, vector if data is None else data)

    def mask(self, vector: int, masked: bool) -> None:
        self.store(vector, 12, int(masked))

    def signal(self, vector: int) -> None:
        self.device.signal(vector)
        self.vm.run()

    def delivered(self) -> list[int]:
        """Data of the messages that came since the last call."""
        data = [message.data for message in self.vm.delivered]
        self.vm.delivered.clear()
        return data

    def calls(self) -> list[Call]:
        """System calls and device calls since the last call."""
        made = [*self.device.log, *self.vm.log]
        self.device.log.clear()
        self.vm.log.clear()
        return made

    def close(self) -> None:
        self.host.disable()
        self.device.close()


@pytest.fixture(name="make")
def make_msix(no_leaks: None) -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def new(size: int = 8, *, noresize: bool = False) -> Guest:
        made.append(Guest(size, noresize=noresize))
        return made[-1]

    yield new
    for guest in made:
        guest.close()
