#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A driver for edu, the device that exists for learning to write drivers; read this one first.

It has registers to read and write, interrupts, and DMA to and from a buffer of 4096 bytes.
QEMU's docs/specs/edu.rst specifies it. QEMU has one (-device edu), and so has pyvmm:

    pyvmm serve edu --socket /tmp/edu.sock
    python examples/edu.py /tmp/edu.sock --factorial 6
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from pyvmm import vfio
from pyvmm.vfio import Field, Flag, Register

BUFFER = 0x40000  # where DMA finds the device's buffer, in addresses of its own
BUFFER_SIZE = 4096
ADDRESS_LIMIT = 1 << 28  # it has 28 address lines
PATIENCE = 10.0  # seconds


class Registers(vfio.RegisterMap):
    """The registers in BAR 0."""

    identification = Register(0x00)
    magic = Field(identification, 0x000000FF)
    major = Field(identification, 0xFF000000)
    minor = Field(identification, 0x00FF0000)

    liveness = Register(0x04)

    factorial = Register(0x08)
    status = Register(0x20)
    computing = Flag(status, 0x01)
    interrupt_when_computed = Flag(status, 0x80)

    interrupt_status = Register(0x24)
    raise_interrupt = Register(0x60)
    acknowledge_interrupt = Register(0x64)

    dma_source = Register(0x80, 8)
    dma_destination = Register(0x88, 8)
    dma_count = Register(0x90, 8)
    dma_command = Register(0x98, 8)


# Bits of dma_command.
START, TO_MEMORY, INTERRUPT = 0x01, 0x02, 0x04


class EduError(vfio.VfioError):
    """It is no edu, or it doesn't do what edu does."""


class Edu:
    """The device, with its interrupt turned on."""

    def __init__(self, dev: vfio.PciDevice) -> None:
        identity = (dev.config.vendor_id, dev.config.device_id)
        if identity != (0x1234, 0x11E8):
            found = "{:04x}:{:04x}".format(*identity)
            raise EduError(f"{dev.name} is no edu (1234:11e8), but {found}")
        self.dev = dev
        self.registers = Registers(dev.bars[0].map())
        # One kind of interrupt can be on at a time. Of MSI it has one vector.
        kind = dev.msi if dev.msi.count else dev.intx
        (self.interrupt,) = kind.enable(1)

    def wait(self) -> int:
        """Wait for its interrupt, and tell what the device says is the reason."""
        self.interrupt.wait(PATIENCE)
        reason = self.registers.interrupt_status
        self.registers.acknowledge_interrupt = reason
        if self.interrupt.automasked:
            self.interrupt.unmask()
        return reason

    def is_alive(self) -> bool:
        """It answers what is written to its liveness register, with each bit inverted."""
        self.registers.liveness = 0x12345678
        return self.registers.liveness == 0x12345678 ^ 0xFFFFFFFF

    def factorial(self, number: int) -> int:
        """number!, as far as 32 bits hold it."""
        self.registers.interrupt_when_computed = True
        self.registers.factorial = number
        self.wait()
        if self.registers.computing:
            raise EduError(f"{self.dev.name} sent its interrupt too early")
        return self.registers.factorial

    def copy(self, source: int, destination: int, size: int, direction: int) -> None:
        """Have the device copy between memory, at an IOVA, and its buffer."""
        self.registers.dma_source = source
        self.registers.dma_destination = destination
        self.registers.dma_count = size
        self.registers.dma_command = START | direction | INTERRUPT
        self.wait()

    def there_and_back(self, data: bytes) -> bytes:
        """Send data to the device's buffer, and get back what is in it then."""
        with self.dev.dma.alloc(2 * BUFFER_SIZE, below=ADDRESS_LIMIT) as memory:
            there, back = memory[:BUFFER_SIZE], memory[BUFFER_SIZE:]
            there.view[: len(data)] = data
            self.copy(there.iova, BUFFER, len(data), direction=0)
            self.copy(BUFFER, back.iova, len(data), direction=TO_MEMORY)
            return bytes(back.view[: len(data)])


def run(edu: Edu, number: int) -> None:
    registers = edu.registers
    print(f"edu {registers.major}.{registers.minor} at {edu.dev.name}")
    print(f"it is {'alive' if edu.is_alive() else 'dead'}")
    registers.raise_interrupt = 0x10
    print(f"interrupt, because of {edu.wait():#x}")
    print(f"{number}! = {edu.factorial(number)}")
    data = os.urandom(256)
    same = edu.there_and_back(data) == data
    print(f"{len(data)} bytes by DMA to the device and back: {'the same' if same else 'others'}")
    if not same:
        raise EduError("the DMA moved other bytes than those")


def main() -> None:
    parser = argparse.ArgumentParser(description="Drive an edu device.")
    parser.add_argument("where", help="its PCI address (0000:02:00.0), or a vfio-user socket")
    parser.add_argument("--factorial", type=int, default=5, metavar="N", help="of what (5)")
    options = parser.parse_args()
    try:
        with vfio.open(options.where) as dev:
            run(Edu(dev), options.factorial)
    except vfio.VfioError as error:
        sys.exit(f"edu.py: error: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, and no traceback tells
    main()
