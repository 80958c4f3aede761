# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers of the lab's devices: one to scribble on, one that a reset clears, and interrupts.

From the data sheets of NVMe 1.4 and Intel's 82574, and QEMU's specs/edu.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple, Self

from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from pyvmm.uapi.vfio import VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import Device

BAR0, CONFIG = VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX


def read32(device: Device, offset: int) -> int:
    return int.from_bytes(device.region_read(BAR0, offset, 4), "little")


def write32(device: Device, offset: int, value: int) -> None:
    device.region_write(BAR0, offset, value.to_bytes(4, "little"))


class Registers(NamedTuple):
    """Offsets in BAR 0."""

    scratch: int
    """Takes any value of scratch_mask, and does nothing."""
    scratch_mask: int
    scratch_reads: Callable[[int], int]
    """What it reads as after it was written."""
    cleared: tuple[int, int, int] | None
    """One that a reset clears: offset, a value for it, and its value after a reset."""


def _same(value: int) -> int:
    return value


def _inverted(value: int) -> int:
    return ~value & 0xFFFFFFFF


REGISTERS = {
    "nvme": Registers(0x24, 0x0FFF0FFF, _same, (0x14, 0x00460000, 0)),  # AQA; CC, disabled
    "e1000e": Registers(0x38, 0xFFFF, _same, (0x38, 0x1234, 0x8100)),  # VET
    "edu": Registers(0x04, 0xFFFFFFFF, _inverted, None),
}


def enable_bus_master(device: Device) -> None:
    """Messages are DMA, too."""
    command = int.from_bytes(device.region_read(CONFIG, PCI_COMMAND, 2), "little")
    command |= PCI_COMMAND_MASTER
    device.region_write(CONFIG, PCI_COMMAND, command.to_bytes(2, "little"))


class Signal(ABC):
    """Has a device interrupt of itself; a context manager."""

    repeats = False
    """Whether there may be more messages than one until it is acknowledged."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.held = ExitStack()

    @abstractmethod
    def arm(self) -> None:
        """Prepare it, anew after each reset."""

    @abstractmethod
    def fire(self) -> None:
        """Have it send a message by vector 0, or pull its line."""

    @abstractmethod
    def acknowledge(self) -> None:
        """Have it take back its line."""

    @abstractmethod
    def disarm(self) -> None:
        """Nothing comes of it after this, until it is armed."""

    def close(self) -> None:
        self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Edu(Signal):
    def arm(self) -> None:
        pass

    def disarm(self) -> None:
        pass

    def fire(self) -> None:
        write32(self.device, 0x60, 1)

    def acknowledge(self) -> None:
        write32(self.device, 0x64, 1)


class _E1000e(Signal):
    """It says that its link has changed.

    QEMU's holds messages back that come within 128 us of another. Until version 8 it has two
    faults there, which show where the host is busy. One that was held back once is repeated from
    then on, until it is acknowledged. And QEMU aborts if MSI-X is switched on or off meanwhile.
    """

    repeats = True
    ICR, ICS, IMS, IMC, IVAR, RCTL, TCTL = 0xC0, 0xC8, 0xD0, 0xD8, 0xE4, 0x100, 0x400
    LINK_CHANGED, OTHER = 1 << 2, 1 << 24
    OTHER_IS_VECTOR_0 = 8 << 16

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.disarm()  # opening it doesn't: frames may come for those that had it before
        self.held.callback(self.disarm)

    def disarm(self) -> None:
        for register in (self.RCTL, self.TCTL):
            write32(self.device, register, 0)
        write32(self.device, self.IMC, 0xFFFFFFFF)
        read32(self.device, self.ICR)

    def arm(self) -> None:
        self.disarm()
        write32(self.device, self.IVAR, self.OTHER_IS_VECTOR_0)
        write32(self.device, self.IMS, self.LINK_CHANGED | self.OTHER)

    def fire(self) -> None:
        write32(self.device, self.ICS, self.LINK_CHANGED)

    def acknowledge(self) -> None:
        write32(self.device, self.ICR, self.LINK_CHANGED | self.OTHER)


class _Nvme(Signal):
    """It completes an admin command that it doesn't know."""

    CC, CSTS, AQA, ASQ, ACQ, TAIL, HEAD = 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000, 0x1004
    ENTRIES, UNKNOWN = 8, 0x7F
    ENABLE = 4 << 20 | 6 << 16 | 1

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        # A page for each: without an IOMMU more may not lie together.
        self.commands = self.held.enter_context(device.dma.alloc(0x1000))
        self.completions = self.held.enter_context(device.dma.alloc(0x1000))
        self.held.callback(self.disarm)

    def disarm(self) -> None:
        write32(self.device, self.CC, 0)
        self._wait_until_ready(False)

    def arm(self) -> None:
        self.tail = 0
        self.disarm()
        write32(self.device, self.AQA, (self.ENTRIES - 1) << 16 | (self.ENTRIES - 1))
        for register, queue in ((self.ASQ, self.commands), (self.ACQ, self.completions)):
            self.device.region_write(BAR0, register, queue.iova.to_bytes(8, "little"))
        write32(self.device, self.CC, self.ENABLE)
        self._wait_until_ready(True)

    def _wait_until_ready(self, ready: bool) -> None:
        while read32(self.device, self.CSTS) & 1 != ready:
            pass

    def fire(self) -> None:
        self.commands.view[64 * self.tail] = self.UNKNOWN
        self.tail = (self.tail + 1) % self.ENTRIES
        write32(self.device, self.TAIL, self.tail)

    def acknowledge(self) -> None:
        write32(self.device, self.HEAD, self.tail)


SIGNALS: dict[str, type[Signal]] = {"nvme": _Nvme, "e1000e": _E1000e, "edu": _Edu}
