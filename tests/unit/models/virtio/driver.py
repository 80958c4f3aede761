# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A tiny modern virtio driver in this process, which also says what no good driver would."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from types import TracebackType

from pyvmm.models.virtio import VirtioDevice
from pyvmm.models.virtio.pci import DRIVER_OK, FEATURES_OK, VERSION_1
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import EventFd

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
MEMORY = 1 << 20
DESCRIPTORS, AVAILABLE, USED, DATA = 0x1000, 0x3000, 0x5000, 0x10000
LIMIT = 30.0  # seconds; nothing here takes as long

Segment = tuple[int, int]


class Driver:
    """A device with 1 MiB of memory at IOVA 0, and one queue that is used."""

    def __init__(self, model: VirtioDevice, *, messages: bool = True) -> None:
        self.model = model
        fd = os.memfd_create("guest memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, MEMORY)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self.memory = mmap.mmap(fd, MEMORY)
            model.dma.map(0, MEMORY, address=0, fd=fd)
        finally:
            os.close(fd)
        command = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY
        model.region_write(CONFIG, PCI_COMMAND, command.to_bytes(2, "little"))
        self.vectors = [EventFd() for _ in range(2)]
        if messages:
            fds = [one.fileno() for one in self.vectors]
            model.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 0, fds)

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType
    ) -> None:
        self.model.close()
        for vector in self.vectors:
            vector.close()
        self.memory.close()

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.model.region_read(0, offset, size), "little")

    def write(self, offset: int, value: int, size: int) -> None:
        self.model.region_write(0, offset, value.to_bytes(size, "little"))

    @property
    def status(self) -> int:
        return self.read(0x14, 1)

    def wait_for_status(self, wanted: int) -> None:
        deadline = time.monotonic() + LIMIT
        while self.status != wanted:
            assert time.monotonic() < deadline, f"the status is {self.status:#x}"
            time.sleep(0.0005)

    def reset(self) -> None:
        self.write(0x14, 0, 1)
        self.wait_for_status(0)

    def start(self, features: int = 0, *, size: int = 16, queue: int = 0) -> None:
        """From a reset to a device that works (section 3.1.1)."""
        self.reset()
        self.write(0x14, 1, 1)
        self.write(0x14, 3, 1)
        for select in range(2):
            self.write(0x08, select, 4)
            self.write(0x0C, (features | VERSION_1) >> 32 * select & 0xFFFFFFFF, 4)
        self.write(0x14, 3 | FEATURES_OK, 1)
        assert self.status & FEATURES_OK
        self.memory[DESCRIPTORS : USED + 0x2000] = bytes(USED + 0x2000 - DESCRIPTORS)
        self.size = size
        self.queue = queue
        self.next = 0
        self.seen = 0
        self.write(0x16, queue, 2)
        self.write(0x18, size, 2)
        self.write(0x1A, 1, 2)
        for offset, iova in ((0x20, DESCRIPTORS), (0x28, AVAILABLE), (0x30, USED)):
            self.write(offset, iova, 4)  # as Linux does: in two halves
            self.write(offset + 4, 0, 4)
        self.write(0x1C, 1, 2)
        self.write(0x14, 3 | FEATURES_OK | DRIVER_OK, 1)

    def describe(self, index: int, iova: int, size: int, flags: int, following: int = 0) -> None:
        place = DESCRIPTORS + 16 * index
        struct.pack_into("<QIHH", self.memory, place, iova, size, flags, following)

    def offer(self, readable: list[Segment], writable: list[Segment], head: int = 0) -> None:
        """Put a request into the ring, its descriptors from `head` on."""
        parts = [(*part, 0) for part in readable] + [(*part, 2) for part in writable]
        for index, (iova, size, flags) in enumerate(parts, head):
            more = index - head < len(parts) - 1
            self.describe(index, iova, size, flags | more, index + 1 if more else 0)
        self.make_available(head)

    def make_available(self, *heads: int) -> None:
        for head in heads:
            place = AVAILABLE + 4 + 2 * (self.next % self.size)
            struct.pack_into("<H", self.memory, place, head)
            self.next = (self.next + 1) & 0xFFFF
        struct.pack_into("<H", self.memory, AVAILABLE + 2, self.next)

    def notify(self) -> None:
        self.write(0x3000 + 4 * self.queue, self.queue, 2)

    def waiting_used(self) -> int:
        """How many requests have come back that used() has not returned."""
        index: int = struct.unpack_from("<H", self.memory, USED + 2)[0]
        return (index - self.seen) & 0xFFFF

    def used(self, count: int = 1) -> list[tuple[int, int]]:
        """So many requests that come back: head and bytes written."""
        deadline = time.monotonic() + LIMIT
        done: list[tuple[int, int]] = []
        while len(done) < count:
            (index,) = struct.unpack_from("<H", self.memory, USED + 2)
            while self.seen != index:
                place = USED + 4 + 8 * (self.seen % self.size)
                done.append(struct.unpack_from("<II", self.memory, place))
                self.seen = (self.seen + 1) & 0xFFFF
            assert time.monotonic() < deadline, f"{done} and no more"
            time.sleep(0.0002)
        assert len(done) == count
        return done

    def run(self, readable: list[Segment], writable: list[Segment]) -> int:
        """One request, from its offer to its end: the bytes written."""
        self.offer(readable, writable)
        self.notify()
        ((head, written),) = self.used()
        assert head == 0
        return written
