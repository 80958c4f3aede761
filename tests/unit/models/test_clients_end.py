# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a served model was at when its client went: none of it reaches anybody's memory."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.models import Bar, Identity, Model
from pyvmm.models.edu import BUFFER_START, DMA_SECONDS, Edu
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSI_IRQ_INDEX
from pyvmm.vfio import DmaFault, EventFd, MigrationState
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import PATIENCE

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
IOVA, SIZE = 0x10000, 0x1000
LIVENESS = 0x04
DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND = 0x80, 0x88, 0x90, 0x98
RUN, TO_MEMORY, IRQ_DMA = 0x1, 0x2, 0x4


class Memory:
    """A client's RAM, full of ones."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ram", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, SIZE)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self.view = mmap.mmap(self.fd, SIZE)
        self.view[:] = b"\xff" * SIZE

    def give(self, client: Client) -> None:
        client.dma.map(IOVA, SIZE, address=0, fd=self.fd)

    @property
    def untouched(self) -> bool:
        return self.view[:] == b"\xff" * SIZE

    def close(self) -> None:
        self.view.close()
        os.close(self.fd)


@pytest.fixture
def memory() -> Iterator[Memory]:
    with contextlib.closing(Memory()) as memory:
        yield memory


@pytest.fixture
def others() -> Iterator[Memory]:
    """The memory of the client that comes next."""
    with contextlib.closing(Memory()) as memory:
        yield memory


@contextlib.contextmanager
def serving(model: Model, path: Path) -> Iterator[Path]:
    with Server.listen(model, path, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield path
        finally:
            server.stop()
            thread.join(PATIENCE)
        assert not thread.is_alive()


def connect(path: Path) -> Client:
    return Client.connect(path, timeout=PATIENCE)


def bus_master(client: Client) -> None:
    command = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY
    client.region_write(CONFIG, PCI_COMMAND, command.to_bytes(2, "little"))


def begin_dma(client: Client) -> None:
    """Have edu write its buffer, of zeros, to memory before long."""
    for register, value in (
        (DMA_SOURCE, BUFFER_START),
        (DMA_DESTINATION, IOVA),
        (DMA_COUNT, SIZE),
        (DMA_COMMAND, RUN | TO_MEMORY | IRQ_DMA),
    ):
        client.region_write(0, register, value.to_bytes(4, "little"))


def test_a_timer_of_a_client_that_is_gone_writes_no_other_clients_memory(
    tmp_path: Path, memory: Memory, others: Memory
) -> None:
    with Edu() as edu, serving(edu, tmp_path / "edu.sock") as path:
        with connect(path) as client:
            memory.give(client)
            bus_master(client)
            begin_dma(client)
        with connect(path) as client:
            others.give(client)
            bus_master(client)
            time.sleep(2 * DMA_SECONDS)
            assert client.region_read(0, DMA_COMMAND, 4) == bytes(4)
        assert others.untouched


class Slow(Model):
    """Writes to memory when it is let, after having begun."""

    identity = Identity(0x1234, 0x5678, class_code=0xFF0000)
    bar0 = Bar(0, 0x1000)
    GO = bar0.register(0x00)

    def __init__(self) -> None:
        super().__init__("slow")
        self.begun, self.let, self.over = (threading.Event() for _ in range(3))
        self.fault = ""

    @GO.on_write
    def go(self, value: int) -> None:
        self.start(self.work)

    def work(self) -> None:
        self.begun.set()
        assert self.let.wait(PATIENCE)
        try:
            self.dma_write(IOVA, bytes(SIZE))
        except DmaFault as fault:
            self.fault = str(fault)
        self.over.set()


def test_work_of_a_client_that_is_gone_writes_no_other_clients_memory(
    tmp_path: Path, memory: Memory, others: Memory
) -> None:
    """Also if the next one has switched bus mastering on by then."""
    with Slow() as slow, serving(slow, tmp_path / "slow.sock") as path:
        with connect(path) as client:
            memory.give(client)
            bus_master(client)
            client.region_write(0, 0, bytes(4))
            assert slow.begun.wait(PATIENCE)
        with connect(path) as client:
            others.give(client)
            bus_master(client)
            slow.let.set()
            assert slow.over.wait(PATIENCE)
        assert others.untouched
        assert "the device was reset" in slow.fault


def test_the_next_client_has_a_device_that_was_reset_and_does_no_dma(tmp_path: Path) -> None:
    with Edu() as edu, serving(edu, tmp_path / "edu.sock") as path:
        with connect(path) as client:
            bus_master(client)
            client.region_write(0, LIVENESS, bytes(4))
        with connect(path) as client:
            assert client.region_read(0, LIVENESS, 4) == bytes(4)
            command = int.from_bytes(client.region_read(CONFIG, PCI_COMMAND, 2), "little")
            assert command == PCI_COMMAND_MEMORY


def test_a_source_that_is_left_does_nothing_more_to_memory_that_is_elsewhere_now(
    memory: Memory,
) -> None:
    """What became due while it was stopped is the destination's to do."""
    ours, theirs = socket.socketpair()
    with Edu() as edu, EventFd() as msi, Server(edu, theirs, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(ours, timeout=PATIENCE) as client:
            memory.give(client)
            bus_master(client)
            client.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [msi.fileno()])
            begin_dma(client)
            stream = client.migration.set_state(MigrationState.STOP_COPY)
            assert stream
            while stream.read(1 << 20):
                pass
            time.sleep(2 * DMA_SECONDS)
        thread.join(PATIENCE)
        time.sleep(DMA_SECONDS)
        assert memory.untouched
        assert not msi.pending()
        assert edu.migration.get_state() == MigrationState.RUNNING
