# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets of a served model while its DMA goes by message to a client that must answer it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from pyvmm.models import Bar, Express, Identity, Model
from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_EXP,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_BCR_FLR,
)
from pyvmm.vfio import DmaFault
from pyvmm.vfio.pci_capabilities import capabilities
from pyvmm.vfio.user import Server
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_WRITE,
    F_REPLY,
    PATIENCE,
    REGION_WRITE,
    RESET,
    VERSION,
    Peer,
    Received,
)

CONFIG = 7
MAX_TRANSFER = 4096


class Writer(Model):
    """Writes four messages full, as work, when told to."""

    identity = Identity(0x1234, 0x5678, class_code=0xFF0000)
    capabilities = (Express(at=0x40),)
    bar0 = Bar(0, 0x1000)
    GO = bar0.register(0x00, "wo")

    def __init__(self) -> None:
        super().__init__("writer")
        self.faults: list[str] = []
        self.faulted = threading.Event()

    @GO.on_write
    def go(self, value: int) -> None:
        self.start(self.fill)

    def fill(self) -> None:
        try:
            self.dma_write(0x1000, bytes(4 * MAX_TRANSFER))
        except DmaFault as fault:
            self.faults.append(str(fault))
        self.faulted.set()


def write(index: int, offset: int, value: int, size: int) -> bytes:
    return struct.pack("=QII", offset, index, size) + value.to_bytes(size, "little")


@pytest.fixture
def model() -> Iterator[Writer]:
    with Writer() as model:
        yield model


@pytest.fixture
def peer(model: Writer) -> Iterator[Peer]:
    """A client whose memory has no file."""
    ours, theirs = socket.socketpair()
    with Server(model, theirs, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Peer(ours) as peer:
            capabilities = b'{"capabilities":{"max_data_xfer_size":%d}}\0' % MAX_TRANSFER
            peer.answered(VERSION, struct.pack("=HH", 0, 1) + capabilities)
            peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x1000, 0x10000))
            peer.answered(REGION_WRITE, write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER, 2))
            yield peer
        thread.join(PATIENCE)
        assert not thread.is_alive()


def begin(peer: Peer) -> Received:
    """Have the model write; returns its first request, which waits for an answer."""
    peer.send(REGION_WRITE, write(0, 0, 1, 4))
    received = [peer.receive(), peer.receive()]  # the work may be quicker than the reply
    return next(message for message in received if message.command == DMA_WRITE)


def by_command(model: Model) -> tuple[int, bytes]:
    return RESET, b""


def by_flr(model: Model) -> tuple[int, bytes]:
    express = next(c.offset for c in capabilities(model.config.read) if c.id == PCI_CAP_ID_EXP)
    return REGION_WRITE, write(CONFIG, express + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR, 2)


@pytest.mark.parametrize("reset", [by_command, by_flr])
def test_a_reset_waits_for_no_answer_and_no_dma_comes_after_it(
    model: Writer, peer: Peer, reset: object
) -> None:
    request = begin(peer)
    assert callable(reset)
    peer.answered(*reset(model))  # the next message is its reply: nothing else comes between
    peer.send(DMA_WRITE, request.payload[:16], id=request.id, flags=F_REPLY)
    assert model.faulted.wait(PATIENCE)
    assert len(model.faults) == 1
    assert "the device was reset" in model.faults[0]
    peer.answered(RESET)  # and again: nothing came before it


def test_bus_mastering_that_is_switched_off_ends_dma(model: Writer, peer: Peer) -> None:
    request = begin(peer)
    peer.answered(REGION_WRITE, write(CONFIG, PCI_COMMAND, 0, 2))
    peer.send(DMA_WRITE, request.payload[:16], id=request.id, flags=F_REPLY)
    assert model.faulted.wait(PATIENCE)
    assert "bus mastering is off" in model.faults[0]
    peer.answered(RESET)


def test_a_message_is_checked_when_it_is_next_to_be_sent(model: Writer, peer: Peer) -> None:
    """A reset that begins between a piece's first check and its message: none is sent."""
    checked = model._check_dma
    checks: list[int] = []

    def check(iova: int, size: int) -> None:
        checked(iova, size)
        checks.append(size)
        if len(checks) == 2:  # of all of it, then of the first piece
            model._activity._epoch += 1

    model._check_dma = check  # type: ignore[method-assign]
    peer.answered(REGION_WRITE, write(0, 0, 1, 4))
    assert model.faulted.wait(PATIENCE)
    assert "the device was reset" in model.faults[0]
    peer.answered(RESET)  # nothing was sent


def test_by_the_twin_socket_a_reset_waits_for_dma_under_way(model: Writer) -> None:
    """No order holds between two sockets: its reply says that no DMA of before comes any more."""
    ours, theirs = socket.socketpair()
    with Server(model, theirs, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Peer(ours) as peer:
            capabilities = (
                b'{"capabilities":{"max_data_xfer_size":%d,"twin_socket":{"supported":true}}}\0'
                % MAX_TRANSFER
            )
            (fd,) = peer.ask(VERSION, struct.pack("=HH", 0, 1) + capabilities).fds
            with Peer(socket.socket(fileno=fd)) as twin:
                peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x1000, 0x10000))
                peer.answered(REGION_WRITE, write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER, 2))
                peer.answered(REGION_WRITE, write(0, 0, 1, 4))
                request = twin.receive()
                peer.send(RESET)
                peer.sock.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    peer.receive()
                peer.sock.settimeout(PATIENCE)
                twin.send(DMA_WRITE, request.payload[:16], id=request.id, flags=F_REPLY)
                assert peer.receive().command == RESET
                assert model.faulted.wait(PATIENCE)
                assert "the device was reset" in model.faults[0]
        thread.join(PATIENCE)
        assert not thread.is_alive()
