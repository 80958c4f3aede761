# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA_READ and DMA_WRITE in bytes: our server before a scripted client."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyvmm.vfio import DmaFault
from pyvmm.vfio.user import Server
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    DMA_WRITE,
    F_ERROR,
    F_REPLY,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    RESET,
    VERSION,
    FakeDevice,
    Peer,
    Received,
)

CONFIG = 7


def dma(iova: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("=QQ", iova, count) + data


class Guest:
    """A scripted client of our server, whose memory at 0x10000 has no file."""

    def __init__(self, peer: Peer, max_transfer: int = 1 << 20) -> None:
        self.peer = peer
        capabilities = b'{"capabilities":{"max_data_xfer_size":%d}}\0' % max_transfer
        peer.answered(VERSION, struct.pack("=HH", 0, 1) + capabilities)
        peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x10000, 0x100000))


@pytest.fixture
def guest(served: socket.socket) -> Iterator[Guest]:
    with Peer(served) as peer:
        yield Guest(peer)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def answer(peer: Peer, received: Received, data: bytes = b"") -> None:
    payload = received.payload[:16] + data
    peer.send(received.command, payload, id=received.id, flags=F_REPLY)


def test_the_servers_dma_read(guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor) -> None:
    future = pool.submit(device.table.read, 0x10008, 4)
    received = guest.peer.receive()
    assert received[1:] == (DMA_READ, 0, 0, dma(0x10008, 4), [])
    answer(guest.peer, received, b"data")
    assert future.result(PATIENCE) == b"data"


def test_the_servers_dma_write(guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor) -> None:
    future = pool.submit(device.table.write, 0x10008, b"data")
    received = guest.peer.receive()
    assert received[1:] == (DMA_WRITE, 0, 0, dma(0x10008, 4, b"data"), [])
    answer(guest.peer, received)
    future.result(PATIENCE)


def test_no_dma_is_longer_than_the_client_takes(
    served: socket.socket, device: FakeDevice, pool: ThreadPoolExecutor
) -> None:
    with Peer(served) as peer:
        Guest(peer, max_transfer=100)
        reading = pool.submit(device.table.read, 0x10000, 250)
        data = bytes(range(250))
        for at, count in ((0, 100), (100, 100), (200, 50)):
            received = peer.receive()
            assert received.payload == dma(0x10000 + at, count)
            answer(peer, received, data[at : at + count])
        assert reading.result(PATIENCE) == data
        writing = pool.submit(device.table.write, 0x10000, data)
        for at, count in ((0, 100), (100, 100), (200, 50)):
            received = peer.receive()
            assert received.payload == dma(0x10000 + at, count, data[at : at + count])
            answer(peer, received)
        writing.result(PATIENCE)


def test_without_a_twin_socket_no_answer_is_to_be_long(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor
) -> None:
    """QEMU sends what its socket has room for, and never the rest."""
    size, most = 80 << 10, 32 << 10
    reading = pool.submit(device.table.read, 0x10000, size)
    for at in range(0, size, most):
        received = guest.peer.receive()
        count = min(most, size - at)
        assert received.payload == dma(0x10000 + at, count)
        answer(guest.peer, received, bytes(count))
    assert reading.result(PATIENCE) == bytes(size)


def test_the_servers_dma_outside_of_what_is_mapped_is_not_even_asked_for(
    guest: Guest, device: FakeDevice
) -> None:
    for iova, size in ((0xFFFF, 1), (0x10FFFF, 2), (0x110000, 1)):
        with pytest.raises(DmaFault, match="not mapped"):
            device.table.read(iova, size)
    guest.peer.answered(RESET)


def test_dma_that_the_client_refuses(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor
) -> None:
    future = pool.submit(device.table.read, 0x10000, 4)
    received = guest.peer.receive()
    guest.peer.send(DMA_READ, id=received.id, flags=F_REPLY | F_ERROR, error=errno.EINVAL)
    with pytest.raises(DmaFault, match="the client refused VFIO_USER_DMA_READ"):
        future.result(PATIENCE)
    guest.peer.answered(RESET)


@pytest.mark.parametrize(
    "lie",
    [
        b"",
        dma(0x10000, 4),
        dma(0x10000, 4, b"123"),
        dma(0x10000, 4, b"12345"),
        dma(0x10000, 3, b"1234"),
        dma(0x10001, 4, b"1234"),
    ],
)
def test_lies_about_dma_end_the_session(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor, lie: bytes
) -> None:
    future = pool.submit(device.table.read, 0x10000, 4)
    received = guest.peer.receive()
    guest.peer.send(DMA_READ, lie, id=received.id, flags=F_REPLY)
    with pytest.raises(DmaFault, match="reply to VFIO_USER_DMA_READ with"):
        future.result(PATIENCE)
    assert guest.peer.ended()


def test_the_server_answers_while_its_dma_waits(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor
) -> None:
    """QEMU's client answers DMA only when none of its own reads waits."""
    future = pool.submit(device.table.read, 0x10000, 4)
    received = guest.peer.receive()
    for _ in range(3):
        read = struct.pack("=QII", 0, CONFIG, 2)
        assert guest.peer.answered(REGION_READ, read) == read + b"\0\1"
        guest.peer.answered(REGION_WRITE, struct.pack("=QII", 8, CONFIG, 1) + b"x")
    answer(guest.peer, received, b"data")
    assert future.result(PATIENCE) == b"data"


def test_dma_from_inside_an_access_is_refused(guest: Guest, device: FakeDevice) -> None:
    """QEMU's client would not answer it before the access is answered."""
    faults: list[str] = []

    def read(*_: object) -> None:
        with pytest.raises(DmaFault) as caught:
            device.table.read(0x10000, 4)
        faults.append(str(caught.value))

    device.on_write = read
    guest.peer.answered(REGION_WRITE, struct.pack("=QII", 0, CONFIG, 1) + b"x")
    assert len(faults) == 1
    assert "VFIO_USER_DMA_READ while handling a command" in faults[0]
    assert "do it on another thread" in faults[0]
    guest.peer.answered(RESET)


def test_a_client_that_does_not_answer_dma(device: FakeDevice) -> None:
    ours, theirs = socket.socketpair()
    with Server(device, theirs, timeout=0.5) as server, Peer(ours) as peer:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Guest(peer)
        with pytest.raises(DmaFault) as caught:
            device.table.read(0x10000, 4)
        assert peer.receive().command == DMA_READ
        thread.join(PATIENCE)
        assert peer.ended()
    assert str(caught.value) == (
        "DMA to IOVA 0x10000+0x4: client of fake did not answer VFIO_USER_DMA_READ within 0.5 s"
    )


def test_unmapping_while_dma_by_message_waits(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor
) -> None:
    """It must not wait for DMA that only the unmapping client can end."""
    future = pool.submit(device.table.read, 0x10000, 4)
    request = guest.peer.receive()
    query = struct.pack("=IIQQ", 24, 0, 0x10000, 0x100000)
    assert guest.peer.answered(DMA_UNMAP, query) == query
    answer(guest.peer, request, b"late")
    assert future.result(PATIENCE) == b"late"


@pytest.mark.parametrize("act", [lambda p: p.close(), lambda p: p.send(1, size=3)])
def test_dma_that_waits_when_the_client_dies(
    guest: Guest, device: FakeDevice, pool: ThreadPoolExecutor, act: Callable[[Peer], None]
) -> None:
    future = pool.submit(device.table.write, 0x10000, bytes(4))
    guest.peer.receive()
    act(guest.peer)
    with pytest.raises(DmaFault):
        future.result(PATIENCE)
