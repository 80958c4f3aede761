# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A small device that migrates and logs its DMA, and a client of it over our server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from pyvmm.uapi import vfio
from pyvmm.vfio import Device, DeviceError, Interval, MigrationData, MigrationState
from pyvmm.vfio.dma_logging import DmaLogging
from pyvmm.vfio.intervals import Intervals, intersect, merge
from pyvmm.vfio.migration import Migration
from pyvmm.vfio.migration_states import begins_stream
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import PATIENCE, FakeDevice

STOP_COPY = vfio.VFIO_MIGRATION_STOP_COPY
PRE_COPY = vfio.VFIO_MIGRATION_PRE_COPY
P2P = vfio.VFIO_MIGRATION_P2P
DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE, WRITE_MULTI = 16, 17, 18, 15


class FakeData(MigrationData):
    """Gives and takes a few bytes at a time, as a pipe may."""

    def __init__(self, left: bytes) -> None:
        self.left = left
        self.taken = b""
        self.closed = False
        self.dry = False

    def read(self, size: int) -> bytes | None:
        if self.dry and not self.left:
            return None
        piece, self.left = self.left[: min(size, 7)], self.left[min(size, 7) :]
        return piece

    def write(self, data: bytes | memoryview) -> None:
        self.taken += data

    def close(self) -> None:
        self.closed = True


class FakeMigration(Migration):
    """Goes every way there is; `fails` is raised instead, once, and leaves it in `stuck`."""

    def __init__(self, flags: int = STOP_COPY | PRE_COPY) -> None:
        self.name = "fake"
        self.flags = flags
        self.state = MigrationState.RUNNING
        self.saved = bytes(range(100))
        self.streams: list[FakeData] = []
        self.fails: DeviceError | None = None
        self.stuck = MigrationState.ERROR

    def get_state(self) -> MigrationState:
        return self.state

    def _go(self, before: MigrationState, way: tuple[MigrationState, ...]) -> MigrationData | None:
        if self.fails:
            error, self.fails, self.state = self.fails, None, self.stuck
            raise error
        self.state = way[-1]
        if not begins_stream(before, self.state):
            return None
        self.streams.append(FakeData(self.saved))
        return self.streams[-1]

    def data_size(self) -> int:
        return len(self.saved)


class FakeLog(DmaLogging):
    """Whatever is in `dirty` is reported, once."""

    def __init__(self) -> None:
        self.name = "fake"
        self.started: tuple[Sequence[Interval], int] | None = None
        self.dirty: Intervals = ()

    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
        self._check(page_size, *ranges)
        self.started = ranges, page_size
        return max(page_size, 8192)

    def stop(self) -> None:
        self.started = None

    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        self._check(page_size, within)
        found = intersect(self.dirty, (within,))
        self.dirty = merge(i for i in self.dirty if not i.overlaps(within))
        return found


class MigratingDevice(FakeDevice):
    def __init__(self) -> None:
        super().__init__()
        self.fake_migration = FakeMigration()
        self.log = FakeLog()

    @property
    def migration(self) -> FakeMigration:
        return self.fake_migration

    @property
    def dma_logging(self) -> FakeLog:
        return self.log

    def reset(self) -> None:
        super().reset()
        self.fake_migration.state = MigrationState.RUNNING


@contextlib.contextmanager
def client_of(device: Device, *, posted_writes: bool = False) -> Iterator[Client]:
    """Our client of our server of the device; both are gone afterwards."""
    ours, theirs = socket.socketpair()
    with Server(device, theirs, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client(ours, "server", timeout=PATIENCE, posted_writes=posted_writes) as client:
                yield client
        finally:
            thread.join(PATIENCE)
            assert not thread.is_alive()
