# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The server and the stream: split, joined, oversized and broken messages, and their fds."""

from __future__ import annotations

import errno
import os
import struct
import threading

import pytest

from pyvmm.uapi.vfio import VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD
from pyvmm.vfio import EventFd
from tests.unit.vfio.fakes import (
    F_ERROR,
    F_REPLY,
    GET_REGION_INFO,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    RESET,
    SET_IRQS,
    FakeDevice,
    Peer,
)

BAR0, BAR2, CONFIG, MSIX = 0, 2, 7, 2
READ = struct.pack("=QII", 0, CONFIG, 4)
READ_REPLY = READ + bytes(range(4))


def message(id: int, command: int, payload: bytes, size: int | None = None) -> bytes:
    size = 16 + len(payload) if size is None else size
    return struct.pack("=HHIII", id, command, size, 0, 0) + payload


def set_trigger(id: int, vector: int) -> bytes:
    flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
    return message(id, SET_IRQS, struct.pack("=IIIII", 20, flags, MSIX, vector, 1))


def test_byte_by_byte(peer: Peer) -> None:
    for _ in range(2):
        for byte in message(5, REGION_READ, READ):
            peer.send_bytes(bytes([byte]))
        assert peer.receive() == (5, REGION_READ, F_REPLY, 0, READ_REPLY, [])


@pytest.mark.parametrize("at", [1, 15, 16, 17, 31])
def test_in_two_pieces(peer: Peer, at: int) -> None:
    data = message(5, REGION_READ, READ)
    peer.send_bytes(data[:at])
    peer.send_bytes(data[at:])
    assert peer.receive().payload == READ_REPLY


def test_many_in_one_piece(peer: Peer) -> None:
    """More than any buffer holds, with an unfinished one behind."""
    count = 3000
    data = b"".join(message(id, REGION_READ, READ) for id in range(count))
    last = message(count, REGION_READ, READ)
    sender = threading.Thread(target=peer.sock.sendall, args=(data + last[:20],))
    sender.start()
    for id in range(count):
        assert peer.receive() == (id, REGION_READ, F_REPLY, 0, READ_REPLY, [])
    sender.join(PATIENCE)
    peer.send_bytes(last[20:])
    assert peer.receive().id == count


def test_large_and_small_messages_in_turn(peer: Peer, device: FakeDevice) -> None:
    for size in (100_000, 1, 65_536 - 32, 65_536, 65_537, 1 << 20, 7):
        asked = struct.pack("=QII", 3, BAR0, size)
        data = os.urandom(size)
        peer.send(REGION_WRITE, asked + data)
        peer.send(REGION_READ, asked)
        assert peer.receive().payload == asked
        assert peer.receive().payload == asked + data


def test_fds_go_to_the_message_they_came_with(peer: Peer, device: FakeDevice) -> None:
    """Among messages without fds, all waiting when the server reads."""
    blocked, go_on = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        blocked.set()
        assert go_on.wait(PATIENCE)
        device.on_read = None

    device.on_read = block
    with EventFd() as one, EventFd() as two:
        peer.send_bytes(message(1, REGION_READ, READ))
        assert blocked.wait(PATIENCE)
        peer.send_bytes(message(2, REGION_READ, READ))
        peer.send_bytes(set_trigger(3, 10), [one.fileno()])
        peer.send_bytes(message(4, REGION_READ, READ))
        peer.send_bytes(set_trigger(5, 11), [two.fileno()])
        peer.send_bytes(set_trigger(6, 12)[:18], [one.fileno()])
        peer.send_bytes(set_trigger(6, 12)[18:])
        peer.send_bytes(set_trigger(7, 13)[:16])
        peer.send_bytes(set_trigger(7, 13)[16:], [two.fileno()])
        go_on.set()
        for id in range(1, 8):
            received = peer.receive()
            assert (received.id, received.flags) == (id, F_REPLY)
        for vector, eventfd in ((10, one), (11, two), (12, one), (13, two)):
            device.triggers[MSIX, vector].signal()
            assert eventfd.read() == 1


def test_more_fds_than_one_message_can_have(peer: Peer) -> None:
    with EventFd() as eventfd:
        fds = [eventfd.fileno()] * 200
        for _ in range(3):
            data = set_trigger(1, 0)
            peer.send_bytes(data[:10], fds)
            peer.send_bytes(data[10:], fds)
            received = peer.receive()
            assert (received.flags, received.error) == (F_REPLY | F_ERROR, errno.EMFILE)
    assert peer.answered(REGION_READ, READ) == READ_REPLY


@pytest.mark.parametrize("size", [(1 << 20) + 8192, 3 << 20])
def test_an_oversized_message_is_refused_and_skipped(peer: Peer, size: int) -> None:
    with EventFd() as eventfd:
        data = message(9, REGION_WRITE, bytes(size - 16))
        peer.send_bytes(data[:100], [eventfd.fileno()])
        received = peer.receive()
        assert (received.id, received.flags, received.error) == (9, F_REPLY | F_ERROR, errno.EINVAL)
        peer.send_bytes(data[100:200], [eventfd.fileno()])
        peer.sock.sendall(data[200:] + message(10, REGION_READ, READ))
        assert peer.receive() == (10, REGION_READ, F_REPLY, 0, READ_REPLY, [])


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_size_below_the_headers_ends_it(peer: Peer, size: int) -> None:
    peer.send_bytes(message(1, REGION_READ, READ, size))
    assert peer.ended()


@pytest.mark.parametrize("flags", [F_REPLY, F_REPLY | F_ERROR, 2, 0xF])
def test_what_is_no_command_ends_it(peer: Peer, flags: int) -> None:
    peer.send(REGION_READ, READ, flags=flags)
    assert peer.ended()


def test_a_client_that_does_not_read_loses_nothing(peer: Peer) -> None:
    """Answers for which there is no room wait, and the server goes on reading."""
    size = 1 << 20
    count = 6
    asked = struct.pack("=QII", 0, BAR0, size)
    for _ in range(count):
        peer.send(REGION_READ, asked)
    for _ in range(count):
        assert peer.receive().payload == asked + bytes(size)


def test_region_fds_wait_with_their_message(peer: Peer, device: FakeDevice) -> None:
    """A reply with an fd, behind more than the socket holds."""
    size = 1 << 20
    peer.send(REGION_READ, struct.pack("=QII", 0, BAR0, size))
    peer.send(GET_REGION_INFO, struct.pack("=IIIIQQ", 80, 0, BAR2, 0, 0, 0))
    peer.send(RESET)
    assert len(peer.receive().payload) == 16 + size
    received = peer.receive()
    assert received.command == GET_REGION_INFO
    (fd,) = received.fds
    assert os.path.samestat(os.fstat(fd), os.fstat(device.memfd))
    received.close()
    assert peer.receive().command == RESET
