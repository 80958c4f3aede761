# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The transport's own promises: one piece, no blocking, nothing lost, nothing leaked."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError, DeviceGone, ProtocolError
from pyvmm.vfio.user.protocol import MAX_MESSAGE_SIZE
from pyvmm.vfio.user.transport import Transport
from tests.unit.vfio.fakes import PATIENCE, Peer

BIG = 1 << 20


@pytest.fixture
def pair() -> Iterator[tuple[Transport, Peer]]:
    ours, theirs = socket.socketpair()
    transport = Transport(ours, "peer", 0.01)
    with Peer(theirs) as peer:
        yield transport, peer
        transport.close()


def message(id: int, payload: bytes = b"") -> bytes:
    return struct.pack("=HHIII", id, 77, 16 + len(payload), 0, 0) + payload


def test_header_payload_and_fds_come_in_one_piece(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    reader, writer = os.pipe()
    assert transport.send(message(1, b"payload"), [reader, writer])
    data, fds, _, _ = socket.recv_fds(peer.sock, 100, 10)
    assert data == message(1, b"payload")
    assert len(fds) == 2
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_sending_never_blocks_and_keeps_the_order(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    reader, writer = os.pipe()
    assert not transport.send(message(1, bytes(BIG)))
    assert not transport.send(message(2, b"fds"), [reader])
    assert not transport.send(message(3))
    os.close(reader)  # it has its own by now
    assert transport.backlog > 0
    flushed: list[bool] = []
    thread = threading.Thread(
        target=lambda: flushed.append(transport.flush(time.monotonic() + PATIENCE))
    )
    thread.start()
    assert len(peer.receive().payload) == BIG
    received = peer.receive()
    assert (received.id, received.payload, len(received.fds)) == (2, b"fds", 1)
    received.close()
    assert peer.receive().id == 3
    thread.join(PATIENCE)
    assert flushed == [True]
    assert transport.backlog == 0
    os.close(writer)


def test_a_flush_ends_at_its_deadline(pair: tuple[Transport, Peer]) -> None:
    transport, _ = pair
    transport.send(message(1, bytes(BIG)))
    assert not transport.flush(time.monotonic() + 0.01)


def test_the_reader_sends_what_waits(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    transport.send(message(1, bytes(BIG)))
    thread = threading.Thread(target=peer.receive)
    thread.start()
    while transport.backlog:
        assert transport.receive() is None
    thread.join(PATIENCE)


def test_a_peer_that_never_reads_is_not_listened_to_for_ever(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    while transport.backlog < 8 * MAX_MESSAGE_SIZE:
        peer.send(1)
        assert transport.receive()
        transport.send(message(1, bytes(BIG)))
    peer.send(1)
    assert transport.receive() is None
    assert transport.receive() is None
    thread = threading.Thread(target=lambda: [peer.receive() for _ in range(3)])
    thread.start()
    received = transport.receive()
    while received is None:
        received = transport.receive()
    assert received.command == 1
    while thread.is_alive():
        transport.receive()


@pytest.mark.parametrize(("size", "most"), [(BIG, 12), (0, 1100)])
def test_what_came_at_once_is_not_all_answered_at_once(
    pair: tuple[Transport, Peer], size: int, most: int
) -> None:
    """A burst of short commands, each with an answer that waits: their limit is looked at."""
    transport, peer = pair
    transport.send(message(1, bytes(BIG)))  # what is sent from now on waits
    count = 4000
    peer.send_bytes(message(1) * count)
    answered = 0
    while transport.receive():
        transport.send(message(2, bytes(size)))
        answered += 1
        assert answered <= most
    assert answered
    assert transport.receive(wait=False) is None
    assert transport.buffered() is None
    thread = threading.Thread(target=lambda: [peer.receive() for _ in range(count + 1)])
    thread.start()
    while answered < count or transport.backlog:
        if transport.receive():
            transport.send(message(2))
            answered += 1
    thread.join(PATIENCE)


def test_the_longest_flush(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    transport.send(message(1, bytes(BIG)))
    thread = threading.Thread(target=peer.receive)
    thread.start()
    assert transport.flush(time.monotonic() + 1e12)
    thread.join(PATIENCE)


def test_what_fails_to_close_is_closed(
    pair: tuple[Transport, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, peer = pair
    reader, writer = os.pipe()
    peer.send(1, fds=[reader, writer])
    os.close(reader)
    os.close(writer)
    received = transport.receive()
    assert received
    close = os.close

    def failing(fd: int) -> None:
        close(fd)
        raise OSError(errno.EIO, "as NFS has it")

    monkeypatch.setattr(os, "close", failing)
    received.close()


def test_fds_that_cannot_be_sent_are_the_callers_error(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    with pytest.raises(DeviceError, match="passing fds 12345 to peer") as caught:
        transport.send(message(1), [12345])
    assert caught.value.errno == errno.EBADF
    assert transport.send(message(2))
    assert peer.receive().id == 2
    transport.send(message(3, bytes(BIG)))
    with pytest.raises(DeviceError):
        transport.send(message(4), [12345])


@pytest.mark.parametrize("said", [b"", message(1, b"abc")[:7], message(1, b"abc")[:17]])
def test_the_end(pair: tuple[Transport, Peer], said: bytes) -> None:
    transport, peer = pair
    peer.send_bytes(said)
    peer.close()
    where = "peer hung up in the middle of a message" if said else "peer hung up$"
    assert not said or transport.receive() is None
    with pytest.raises(DeviceGone, match=where):
        transport.receive()
    with pytest.raises(DeviceGone):
        transport.receive(wait=False)
    with pytest.raises(DeviceGone):
        transport.send(message(1))


def test_what_came_before_the_end_is_received(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    peer.send(1, b"one")
    peer.send(2, b"two")
    peer.close()
    for command in (1, 2):
        received = transport.receive()
        assert received
        assert received.command == command
    with pytest.raises(DeviceGone):
        transport.receive()


@pytest.mark.parametrize("patience", [0.0, 1e-9, 0.000005])
def test_the_shortest_patience_is_not_for_ever(patience: float) -> None:
    ours, theirs = socket.socketpair()
    transport = Transport(ours, "peer", patience)
    timeval = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    assert any(timeval)
    assert transport.receive() is None
    transport.patience = None
    assert not any(ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
    transport.close()
    theirs.close()


def test_shutdown_wakes_the_reader() -> None:
    ours, theirs = socket.socketpair()
    transport = Transport(ours, "peer", PATIENCE)
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(DeviceGone):
            transport.receive()
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    transport.shutdown()
    assert ended.wait(PATIENCE)
    thread.join(PATIENCE)
    transport.close()
    theirs.close()


def test_closing_lets_fds_go_that_nobody_received(pair: tuple[Transport, Peer]) -> None:
    """Those of a message that never became whole, and those still to be sent."""
    transport, peer = pair
    reader, writer = os.pipe()
    peer.send_bytes(message(1, b"whole")[:10], [reader, writer])
    assert transport.receive() is None
    transport.send(message(2, bytes(BIG)))
    transport.send(message(3), [reader, writer])
    transport.close()
    os.close(reader)
    os.close(writer)


def test_nonsense(pair: tuple[Transport, Peer]) -> None:
    transport, peer = pair
    peer.send(1, size=15)
    with pytest.raises(ProtocolError, match="message of 15 bytes"):
        transport.receive()
