# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mover: a device whose DMA times itself, and its server: ``python -m bench.user.mover FD``."""

from __future__ import annotations

import socket
import sys
from time import perf_counter_ns

from pyvmm.models import Bar, Identity, Model, Msi
from pyvmm.vfio.user import serve

READ, WRITE = 1, 2


class Mover(Model):
    """Reads SIZE bytes at ADDRESS, or writes them, COUNT times; an MSI tells that TOOK is there."""

    identity = Identity(0x1234, 0x0003, class_code=0xFF0000)
    capabilities = (Msi(1),)
    bar0 = Bar(0, 4096)

    ADDRESS = bar0.register(0x00, width=8)
    SIZE = bar0.register(0x08)
    COUNT = bar0.register(0x0C)
    COMMAND = bar0.register(0x10, "wo")
    TOOK = bar0.register(0x18, "ro", width=8)

    @COMMAND.on_write
    def command(self, command: int) -> None:
        self.TOOK = 0
        self.start(self.read if command == READ else self.write, self.moved)

    def read(self) -> int:
        iova, size, count = self.ADDRESS, self.SIZE, self.COUNT
        start = perf_counter_ns()
        for _ in range(count):
            self.dma_read(iova, size)
        return perf_counter_ns() - start

    def write(self) -> int:
        iova, count, data = self.ADDRESS, self.COUNT, bytes(self.SIZE)
        start = perf_counter_ns()
        for _ in range(count):
            self.dma_write(iova, data)
        return perf_counter_ns() - start

    def moved(self, nanoseconds: int) -> None:
        self.TOOK = nanoseconds
        self.signal(0)


if __name__ == "__main__":
    with Mover() as mover:
        serve(socket.socket(fileno=int(sys.argv[1])), mover)
