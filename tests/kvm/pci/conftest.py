# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A fake device assigned to a guest of a few instructions on the real KVM."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.kvm import System
from pyvmm.pci.assigned import Assigned
from pyvmm.pci.bus import Bus
from pyvmm.vfio import EventFd, Interval, IoEventFd
from tests.kvm.kvm_room.conftest import LIMIT, PD_HIGH, Guest, assemble
from tests.unit.pci.fake_device import FakeDevice

MSIX_AT = 0x70
COMMAND, IO, MEMORY, MASTER = 4, 1, 2, 4
IOAPIC, LAPIC = 0xFEC00000, 0xFEE00000

# Behind the guest's RAM, and in the 2 MiB it has mapped.
BAR0 = 0x100000
MOVED = 0x140000
PORTS = 0xC000
WIDE = 0x180000
SMALL, TINY = 0x190000, 0x191000
HANDLERS = 0x2000

# Guests tell what they see by writing to ports; to READY first of all.
READY = 0x500

WAIT = """
    mov $0xfee00000, %rdi
    movl $0x1ff, 0xf0(%rdi)  # enable the local APIC
    mov $0x500, %dx
    out %al, %dx
    sti
wait:
    hlt
    jmp wait
"""
HANDLER = """
    .code64
    mov $PORT, %dx
    out %al, %dx
    mov $0xfee00000, %rdi
    movl $0, 0xb0(%rdi)      # EOI
    iretq
"""


class Machine:
    """The guest, and FakeDevice at 00:03.0.

    BAR 0 is 0x8000 bytes: memory that can be mapped, but for the page at 0x1000, which has
    MSI-X, registers and a doorbell at 0x1100. BAR 1 is 0x40 ports. BAR 2 is 64-bit memory, of
    0x4000 bytes, which is not prefetchable; its second page is mapped. BARs 4 and 5 are smaller
    than a page, and mapped.
    """

    BDF = 3 << 3

    def __init__(self, system: System, device: FakeDevice) -> None:
        self.guest = Guest(system)
        self.device = device
        self.bell = EventFd()
        device.add_region(0, 0x8000, register=0, mappable=(Interval(0, 0x8000),))
        device.add_region(1, 0x40, register=1)
        device.add_region(2, 0x4000, register=4, mappable=(Interval(0x1000, 0x2000),))
        device.add_region(4, 0x100, register=0, mappable=(Interval(0, 0x100),))
        device.add_region(5, 0x80, register=0, mappable=(Interval(0, 0x80),))
        device.bells[0] = [IoEventFd(0x1100, 4, self.bell.fileno())]
        device.config[0x3D] = 1
        table = (0x1800).to_bytes(4, "little") + (0x1C00).to_bytes(4, "little")
        device.add_capability(MSIX_AT, bytes([0x11, 0, 15, 0]) + table)
        self.reports: list[str] = []
        self.bus = Bus()
        self.function = Assigned(
            device,
            memory=self.guest.memory,
            mmio=self.guest.mmio,
            ports=self.guest.ports,
            vm=self.guest.vm,
            report=self.reports.append,
        )
        self.bus.add(self.function, device=3)
        for bar, address in zip(self.function.bars, (BAR0, PORTS, WIDE, SMALL, TINY), strict=True):
            bar.place(address)
        self.function.reset()
        self._heard = EventFd()
        self._at = 0
        self.guest.port.on_access = self._heard.signal

    # What the guest's driver does, from outside

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.bus.config_write(self.BDF, offset, size, value)

    def load(self, address: int, size: int) -> int:
        read, _, offset = self.guest.mmio.lookup(address, size)
        return read(offset, size)

    def store(self, address: int, size: int, value: int) -> None:
        _, write, offset = self.guest.mmio.lookup(address, size)
        write(offset, size, value)

    def entry(self, vector: int, data: int) -> None:
        """Fill in and unmask a vector of MSI-X."""
        self.store(BAR0 + 0x1800 + 16 * vector, 8, LAPIC)
        self.store(BAR0 + 0x1808 + 16 * vector, 8, data)

    def mask(self, vector: int, masked: bool) -> None:
        self.store(BAR0 + 0x180C + 16 * vector, 4, int(masked))

    def pba(self) -> int:
        return self.load(BAR0 + 0x1C00, 8)

    # What the guest does itself

    def wait_for_interrupts(self, vectors: dict[int, int], before: str = "") -> None:
        """Run the vCPU: `before`, then halted; each vector writes to its port."""
        self.guest.long_mode(before + WAIT)
        entry = PD_HIGH + (IOAPIC >> 21 & 511) * 8
        self.guest.memory.write(entry, (IOAPIC | 0x93).to_bytes(8, "little"))
        for number, (vector, port) in enumerate(vectors.items()):
            at = HANDLERS + 0x100 * number
            self.guest.memory.write(at, assemble(HANDLER.replace("PORT", str(port)), at))
            self.guest.set_gate(vector, at)
        self.guest.run_in_background()
        assert self.heard() == READY

    def heard(self) -> int:
        """The next port that the guest wrote to."""
        log = self.guest.port.log
        while len(log) == self._at:
            assert self._heard.wait(LIMIT), "the guest is silent"
            self._heard.read()
        self._at += 1
        return Guest.PORT + log[self._at - 1][1]

    @property
    def quiet(self) -> bool:
        """Whether the guest has said no more than was heard."""
        return len(self.guest.port.log) == self._at

    def close(self) -> None:
        self.guest.stop()
        self.function.close()
        self.guest.close()
        self.device.close()
        self.bell.close()
        self._heard.close()


@pytest.fixture
def system(no_leaks: None) -> Iterator[System]:
    with System() as system:
        yield system


class HostDevice(FakeDevice):
    """As of the host: whose small BARs have a page each."""

    def owns_page(self, index: int) -> bool:
        return index >= 4


@pytest.fixture
def device() -> FakeDevice:
    return HostDevice(intx=1, msix=16)


@pytest.fixture
def machine(system: System, device: FakeDevice) -> Iterator[Machine]:
    machine = Machine(system, device)
    yield machine
    machine.close()
    assert machine.reports == []
    assert machine.function.guard.counts == {}
