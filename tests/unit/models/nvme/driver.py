# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A tiny NVMe driver in this process, which also says what no good driver would."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from types import TracebackType
from typing import NamedTuple

from pyvmm.models.nvme import Nvme
from pyvmm.models.nvme.spec import Admin, Io, Status
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import EventFd

PAGE = 4096
RING = 0x4000  # bytes for a queue, at a page of any size
MEMORY = 4 << 20
CC, CSTS, AQA, ASQ, ACQ = 0x14, 0x1C, 0x24, 0x28, 0x30
ENABLE = 4 << 20 | 6 << 16 | 1
RDY, CFS = 1, 2
LIMIT = 30.0  # seconds; nothing here takes as long

# Where things are in memory; data are from DATA on.
QUEUES, LISTS, DATA = 0x10000, 0x80000, 0x100000
BLOCKS = (1 << 20) // 512
"""Of the drive that conftest.py has"""


class Done(NamedTuple):
    cid: int
    result: int
    status: int  # without MORE and DNR
    dnr: bool


class Queue:
    """A queue pair, at pages of its own."""

    def __init__(self, driver: Driver, id: int, entries: int) -> None:
        self.driver = driver
        self.id = id
        self.entries = entries
        self.submission = QUEUES + id * 2 * RING
        self.completion = self.submission + RING
        self.tail = self.head = 0
        self.phase = 1
        driver.memory[self.submission : self.submission + 2 * RING] = bytes(2 * RING)

    def submit(
        self,
        opcode: int,
        *words: int,
        nsid: int = 0,
        prp1: int = 0,
        prp2: int = 0,
        cid: int = 0,
        flags: int = 0,
    ) -> None:
        """Put a command into the ring; `words` are dwords 10 and on."""
        fields = (opcode, flags, cid, nsid, 0, prp1, prp2, *(*words, *[0] * 6)[:6])
        at = self.submission + self.tail * 64
        struct.pack_into("<BBHI8xQQQ6I", self.driver.memory, at, *fields)
        self.tail = (self.tail + 1) % self.entries

    def ring(self) -> None:
        self.driver.ring(2 * self.id, self.tail)

    def reap(self, *, acknowledge: bool = True) -> list[Done]:
        """The completions that are there."""
        found = []
        while True:
            at = self.completion + self.head * 16
            result, _, _, sq, cid, status = struct.unpack_from("<IIHHHH", self.driver.memory, at)
            if status & 1 != self.phase:
                break
            assert sq == self.id
            found.append(Done(cid, result, status >> 1 & 0x7FF, bool(status >> 15)))
            self.head = (self.head + 1) % self.entries
            self.phase ^= self.head == 0
        if found and acknowledge:
            self.driver.ring(2 * self.id + 1, self.head)
        return found

    def wait(self, count: int = 1) -> list[Done]:
        """So many completions."""
        found: list[Done] = []
        deadline = time.monotonic() + LIMIT
        while len(found) < count:
            found += self.reap()
            assert time.monotonic() < deadline, f"{found} and no more"
            time.sleep(0.0002)
        assert len(found) == count
        return found

    def until_fetched(self) -> None:
        """Wait for what has no completion yet."""
        engine = self.driver.model._engine
        assert engine is not None
        deadline = time.monotonic() + LIMIT
        while engine.sqs[self.id].head != self.tail:
            assert time.monotonic() < deadline
            time.sleep(0.0002)

    def run(self, opcode: int, *words: int, **others: int) -> Done:
        """One command, from its submission to its end."""
        self.submit(opcode, *words, **others)
        self.ring()
        return self.wait()[0]


class Driver:
    """A controller with 4 MiB of memory at IOVA 0."""

    def __init__(self, model: Nvme) -> None:
        self.model = model
        fd = os.memfd_create("guest memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, MEMORY)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self.memory = mmap.mmap(fd, MEMORY)
            model.dma.map(0, MEMORY, address=0, fd=fd)
        finally:
            os.close(fd)
        self.command(PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY)
        self.vectors = [EventFd() for _ in range(4)]
        model.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 0, [one.fileno() for one in self.vectors])

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType
    ) -> None:
        self.model.close()
        for vector in self.vectors:
            vector.close()
        self.memory.close()

    def command(self, value: int) -> None:
        self.model.region_write(
            VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, value.to_bytes(2, "little")
        )

    def read(self, offset: int, size: int = 4) -> int:
        return int.from_bytes(self.model.region_read(0, offset, size), "little")

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.model.region_write(0, offset, value.to_bytes(size, "little"))

    def ring(self, doorbell: int, value: int) -> None:
        self.write(0x1000 + 4 * doorbell, value)

    def wait_for(self, status: int, mask: int = RDY) -> None:
        deadline = time.monotonic() + LIMIT
        while self.read(CSTS) & mask != status:
            assert time.monotonic() < deadline, f"CSTS is {self.read(CSTS):#x}"
            time.sleep(0.0005)

    def enable(self, entries: int = 32, cc: int = ENABLE) -> Queue:
        """The admin queue of a controller that is on."""
        self.begin_to_enable(entries, cc)
        self.wait_for(RDY)
        return self.admin

    def begin_to_enable(self, entries: int = 32, cc: int = ENABLE) -> None:
        admin = Queue(self, 0, entries)
        self.write(AQA, (entries - 1) * 0x10001)
        self.write(ASQ, admin.submission, 8)
        self.write(ACQ, admin.completion, 8)
        self.write(CC, cc)
        self.admin = admin

    def disable(self) -> None:
        self.write(CC, 0)
        self.wait_for(0)

    def create(self, id: int = 1, entries: int = 32) -> Queue:
        """An I/O queue pair, which interrupts by the vector of its id."""
        queue = Queue(self, id, entries)
        shape = (entries - 1) << 16 | id
        for opcode, place, more in (
            (Admin.CREATE_CQ, queue.completion, id << 16 | 3),
            (Admin.CREATE_SQ, queue.submission, id << 16 | 1),
        ):
            assert self.admin.run(opcode, shape, more, prp1=place).status == Status.SUCCESS
        return queue

    def ready(self) -> Queue:
        """An I/O queue of a controller that is on."""
        self.enable()
        return self.create()

    def identify(self, cns: int, nsid: int = 0) -> bytes:
        done = self.admin.run(Admin.IDENTIFY, cns, nsid=nsid, prp1=DATA)
        assert done.status == Status.SUCCESS
        return self.memory[DATA : DATA + PAGE]

    def log_page(self, id: int, size: int, offset: int = 0, rae: int = 0) -> bytes:
        words = size // 4 - 1
        cdw10 = (words & 0xFFFF) << 16 | rae << 15 | id
        done = self.admin.run(Admin.GET_LOG_PAGE, cdw10, words >> 16, offset, prp1=DATA)
        assert done.status == Status.SUCCESS
        return self.memory[DATA : DATA + size]


def blocks(first: int, count: int) -> tuple[int, int, int]:
    """Dwords 10 to 12 of a command for these blocks."""
    return first & 0xFFFFFFFF, first >> 32, count - 1


__all__ = ["DATA", "Admin", "Done", "Driver", "Io", "Queue", "Status", "blocks"]
