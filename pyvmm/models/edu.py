# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""edu: the educational device that QEMU has too, for learning to write drivers.

QEMU's docs/specs/edu.rst specifies it. What that leaves open is as in QEMU, with one exception:
DMA that leaves the device's buffer moves nothing, whatever a version of QEMU would do.
"""

from __future__ import annotations

import math

from pyvmm.uapi.vfio import VFIO_PCI_MSI_IRQ_INDEX
from pyvmm.vfio import VfioError

from .capabilities import Msi
from .defaults import EDU_DMA_MASK
from .layout import Identity
from .model import Model
from .regions import Bar

# STATUS
COMPUTING = 0x01
IRQ_FACTORIAL = 0x80

# DMA_COMMAND
RUN = 0x1
TO_MEMORY = 0x2
IRQ_DMA = 0x4

# IRQ_STATUS: what raised the interrupt
FACTORIAL_DONE = 0x001
DMA_DONE = 0x100

BUFFER_START = 0x40000
BUFFER_SIZE = 4096
DMA_SECONDS = 0.1


class Edu(Model):
    """1234:11e8: factorials, interrupts, and DMA to and from a buffer of 4096 bytes."""

    identity = Identity(
        0x1234,
        0x11E8,
        class_code=0x00FF00,
        revision=0x10,
        subsystem_vendor=0x1AF4,
        subsystem=0x1100,
    )
    capabilities = (Msi(1, at=0x40),)
    interrupt_pin = 1

    bar0 = Bar(0, 1 << 20)

    IDENTIFICATION = bar0.register(0x00, "ro", reset=0x010000ED)
    LIVENESS = bar0.register(0x04)
    FACTORIAL = bar0.register(0x08)
    STATUS = bar0.register(0x20, writable=IRQ_FACTORIAL)
    IRQ_STATUS = bar0.register(0x24, "ro")
    IRQ_RAISE = bar0.register(0x60, "wo")
    IRQ_ACKNOWLEDGE = bar0.register(0x64, "wo")
    # A write of 4 bytes sets all 8, extended with zeros; there is no upper half to access.
    DMA_SOURCE = bar0.register(0x80, width=8, sizes=(4, 8), partial=False)
    DMA_DESTINATION = bar0.register(0x88, width=8, sizes=(4, 8), partial=False)
    DMA_COUNT = bar0.register(0x90, width=8, sizes=(4, 8), partial=False)
    DMA_COMMAND = bar0.register(0x98, width=8, sizes=(4, 8), partial=False)

    def __init__(self, name: str = "edu", *, dma_mask: int = EDU_DMA_MASK) -> None:
        """`dma_mask` has the address bits that the device's DMA can drive."""
        super().__init__(name)
        self.dma_mask = dma_mask
        self.buffer = bytearray(BUFFER_SIZE)

    @LIVENESS.on_write
    def prove_liveness(self, value: int) -> None:
        self.LIVENESS = ~value

    @FACTORIAL.on_write
    def compute(self, number: int) -> None:
        if self.STATUS & COMPUTING:
            return
        self.FACTORIAL = number
        self.STATUS |= COMPUTING
        self.begin_to_compute()

    def begin_to_compute(self) -> None:
        number = self.FACTORIAL
        self.start(lambda: factorial(number), self.computed)

    def computed(self, result: int) -> None:
        self.FACTORIAL = result
        self.STATUS &= ~COMPUTING
        if self.STATUS & IRQ_FACTORIAL:
            self.raise_interrupt(FACTORIAL_DONE)

    @IRQ_RAISE.on_write
    def raise_interrupt(self, reason: int) -> None:
        self.IRQ_STATUS |= reason
        if not self.IRQ_STATUS:
            return
        if self.irq_mode == VFIO_PCI_MSI_IRQ_INDEX:
            self.signal(0)
        else:
            self.set_intx(True)

    @IRQ_ACKNOWLEDGE.on_write
    def acknowledge_interrupt(self, reason: int) -> None:
        self.IRQ_STATUS &= ~reason
        if not self.IRQ_STATUS:
            self.set_intx(False)

    @property
    def transferring(self) -> bool:
        """A transfer is under way, and its registers can't be written."""
        return bool(self.DMA_COMMAND & RUN)

    @DMA_SOURCE.on_write
    def set_source(self, address: int) -> None:
        if not self.transferring:
            self.DMA_SOURCE = address

    @DMA_DESTINATION.on_write
    def set_destination(self, address: int) -> None:
        if not self.transferring:
            self.DMA_DESTINATION = address

    @DMA_COUNT.on_write
    def set_count(self, count: int) -> None:
        if not self.transferring:
            self.DMA_COUNT = count

    @DMA_COMMAND.on_write
    def command(self, command: int) -> None:
        if command & RUN and not self.transferring:
            self.DMA_COMMAND = command
            self.call_later(DMA_SECONDS, self.transfer)

    def transfer(self) -> None:
        to_memory = bool(self.DMA_COMMAND & TO_MEMORY)
        inside, outside = self.DMA_DESTINATION, self.DMA_SOURCE
        if to_memory:
            inside, outside = outside, inside
        start, end = inside - BUFFER_START, inside - BUFFER_START + self.DMA_COUNT
        iova = outside & self.dma_mask

        def move() -> None:
            if not 0 <= start <= end <= BUFFER_SIZE:
                self.guest_error("DMA outside of the buffer")
                return
            try:
                if to_memory:
                    self.dma_write(iova, memoryview(self.buffer)[start:end])
                else:
                    self.buffer[start:end] = self.dma_read(iova, end - start)
            except VfioError as error:
                self.guest_error(f"DMA failed: {type(error).__name__}")

        self.start(move, self.transferred)

    def transferred(self, _: None) -> None:
        self.DMA_COMMAND &= ~RUN
        if self.DMA_COMMAND & IRQ_DMA:
            self.raise_interrupt(DMA_DONE)

    def on_reset(self) -> None:
        self.buffer[:] = bytes(BUFFER_SIZE)

    def on_save(self) -> bytes:
        return bytes(self.buffer)

    def on_restore(self, data: bytes) -> None:
        if len(data) != BUFFER_SIZE:
            raise ValueError(f"a buffer of {len(data)} bytes")
        self.buffer[:] = data
        if self.STATUS & COMPUTING:
            self.begin_to_compute()
        if self.transferring:
            self.call_later(DMA_SECONDS, self.transfer)


def factorial(number: int) -> int:
    """The factorial, modulo 2**32: from 34 on all 32 bits are multiples' zeros."""
    return math.factorial(number) & 0xFFFFFFFF if number < 34 else 0
