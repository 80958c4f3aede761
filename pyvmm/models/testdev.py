# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""testdev: a device with every kind of BAR, capability and interrupt, to test VMMs with.

docs/testdev.md specifies it.
"""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

from pyvmm.vfio import VfioError

from .capabilities import (
    Express,
    Msi,
    MsiX,
    PowerManagement,
    SerialNumber,
    Vendor,
    VendorExtended,
)
from .layout import Identity
from .model import Model
from .regions import Bar, Rom

ID = 0x74736574  # "test"

# DMA_COMMAND, low byte
CHECKSUM = 1
FILL = 2
TO_DEVICE = 3
TO_MEMORY = 4
SIGNAL = 0x100  # the vector in bits 16 to 23, at the end

# DMA_STATUS
IDLE = 0
BUSY = 1
DONE = 2
ERROR = 3

MAX_DMA = 1 << 20  # bytes
BUFFER_SIZE = 2 << 20


def _rom() -> bytes:
    content = bytearray(range(256)) * 16
    content[0:3] = 0x55, 0xAA, len(content) // 512
    text = b"pyvmm testdev rom"
    content[0x10 : 0x10 + len(text)] = text
    return bytes(content)


class Transfer(NamedTuple):
    """One DMA command, with the registers as they were when it was given."""

    command: int
    iova: int
    length: int
    offset: int
    seed: int


_TRANSFER = struct.Struct("<IQIII")


class TestDevice(Model):
    """1234:7e57."""

    identity = Identity(
        vendor=0x1234,
        device=0x7E57,
        class_code=0xFF0000,
        revision=1,
        subsystem_vendor=0x1234,
        subsystem=0x0001,
    )
    capabilities = (
        PowerManagement(at=0x40),
        Msi(8, maskable=True, at=0x50),
        MsiX(64, table=(0, 0x0800), pba=(0, 0x0C00), at=0x70),
        Vendor(bytes(13), writable=bytes(5) + b"\xff" * 8, at=0x80),
        Express(at=0x90),
        SerialNumber(0x01234567_89ABCDEF, at=0x100),
        VendorExtended(0x7E57, 1, bytes(16), writable=bytes(4) + b"\xff" * 12, at=0x110),
    )
    interrupt_pin = 1

    bar0 = Bar(0, 0x10000)

    REGISTER_ID = bar0.register(0x00, "ro", reset=ID)
    VERSION = bar0.register(0x04, "ro", reset=1)
    SCRATCH = bar0.register(0x08, sizes=(1, 2, 4))
    TRAPS = bar0.register(0x0C, "ro")
    IRQ_RAISE = bar0.register(0x10, "wo")
    INTX = bar0.register(0x14, writable=1)
    DOORBELLS = bar0.register(0x18, "ro")
    IRQ_MODE = bar0.register(0x1C, "ro")
    DMA_ADDRESS = bar0.register(0x20, width=8, sizes=(4, 8))
    DMA_LENGTH = bar0.register(0x28)
    DMA_COMMAND = bar0.register(0x2C, "wo")
    DMA_STATUS = bar0.register(0x30, "ro")
    DMA_CHECKSUM = bar0.register(0x34, "ro")
    DMA_OFFSET = bar0.register(0x38)
    DMA_SEED = bar0.register(0x3C)
    DOORBELL = bar0.doorbell(0x1000)
    bar0.trapped(0x1000, 0x1000)
    bar0.ram(0x4000, 0x8000, mappable=True)
    bar0.trapped(0xC000, 0x4000)

    bar1 = Bar(1, 0x100, io=True)
    bar1.ram(0x00, 0x10)
    PORT_ID = bar1.register(0x10, "ro", reset=ID, sizes=(1, 2, 4))
    bar1.trapped(0x14, 0xEC)

    bar2 = Bar(2, BUFFER_SIZE, wide=True, prefetchable=True)
    BUFFER = bar2.ram(0, BUFFER_SIZE, mappable=True)

    bar4 = Bar(4, 0x100)
    SMALL_ID = bar4.register(0x00, "ro", reset=ID, sizes=(1, 2, 4))
    bar4.trapped(0x04, 0x0C)
    bar4.ram(0x10, 0x10)
    bar4.trapped(0x20, 0xE0)

    bar5 = Bar(5, 0x80, prefetchable=True)
    bar5.ram(0, 0x80, mappable=True)

    rom = Rom(_rom())

    _under_way: Transfer | None = None

    def on_reset(self) -> None:
        self._under_way = None

    def on_save(self) -> bytes:
        return _TRANSFER.pack(*self._under_way) if self._under_way else b""

    def on_restore(self, data: bytes) -> None:
        self._under_way = None
        if len(data) not in (0, _TRANSFER.size):
            raise ValueError(f"a transfer of {len(data)} bytes")
        if data:
            self._begin(Transfer(*_TRANSFER.unpack(data)))

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        self._count_trap(index)
        return super().region_read(index, offset, size)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        self._count_trap(index)
        super().region_write(index, offset, data)

    def _count_trap(self, index: int) -> None:
        if index == self.bar0.index:
            with self.lock:
                self.TRAPS += 1

    @IRQ_RAISE.on_write
    def raise_interrupt(self, vector: int) -> None:
        self.signal(vector)

    @INTX.on_write
    def drive_intx(self, level: int) -> None:
        self.INTX = level
        self.set_intx(bool(level))

    @DOORBELL.on_ring
    def ring(self, times: int) -> None:
        self.DOORBELLS += times

    @IRQ_MODE.on_read
    def mode(self) -> int:
        return self.irq_mode

    @DMA_COMMAND.on_write
    def command(self, command: int) -> None:
        if self.DMA_STATUS == BUSY:
            return
        self.DMA_STATUS = BUSY
        self._begin(
            Transfer(command, self.DMA_ADDRESS, self.DMA_LENGTH, self.DMA_OFFSET, self.DMA_SEED)
        )

    def _begin(self, transfer: Transfer) -> None:
        self._under_way = transfer
        command = transfer.command

        def finish(checksum: int | None) -> None:
            self._under_way = None
            self.DMA_CHECKSUM = checksum or 0
            self.DMA_STATUS = ERROR if checksum is None else DONE
            if command & SIGNAL:
                self.signal(command >> 16 & 0xFF)

        self.start(lambda: self._transfer(transfer), finish)

    def _transfer(self, transfer: Transfer) -> int | None:
        """Do a command; the sum of the words that were moved, or None if it can't be done."""
        command, iova, length, offset, seed = transfer
        command &= 0xFF
        if length > MAX_DMA or length % 4:
            return None
        if command in (TO_DEVICE, TO_MEMORY) and offset + length > BUFFER_SIZE:
            return None
        try:
            if command in (CHECKSUM, TO_DEVICE):
                data = self.dma_read(iova, length)
                if command == TO_DEVICE:
                    self.BUFFER[offset : offset + length] = data
            elif command in (FILL, TO_MEMORY):
                if command == FILL:
                    words = ((seed + i) & 0xFFFFFFFF for i in range(length // 4))
                    data = array("I", words).tobytes()
                else:
                    data = bytes(self.BUFFER[offset : offset + length])
                self.dma_write(iova, data)
            else:
                return None
        except VfioError:
            return None
        return sum(memoryview(data).cast("I"))
