# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A socket of its own for the server's commands: agreed on, used, and lied about."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceGone, DeviceSilent, DmaFault, ProtocolError, VfioError
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    DMA_WRITE,
    F_REPLY,
    GET_INFO,
    GET_REGION_INFO,
    PATIENCE,
    REGION_READ,
    VERSION,
    Answer,
    FakeDevice,
    Peer,
    Received,
    Script,
    wait_until,
)
from tests.unit.vfio.migrating import client_of

PAGE = 4096
CONFIG = 7
OFFER = struct.pack("=HH", 0, 1) + (
    b'{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}\0'
)


@pytest.fixture
def twin(stranger: Peer) -> Iterator[Peer]:
    """Where our server's commands come; stranger is the client, of version 0.1."""
    reply = stranger.ask(VERSION, OFFER)
    text = json.loads(reply.payload[4:-1])
    assert text["capabilities"]["twin_socket"] == {"supported": True, "fd_index": 0}
    (fd,) = reply.fds
    with Peer(socket.socket(fileno=fd)) as twin:
        yield twin


def in_thread(function: object) -> threading.Thread:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    return thread


def mapped(client: Peer) -> None:
    client.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0, PAGE))


def test_dma_goes_there(stranger: Peer, twin: Peer, device: FakeDevice) -> None:
    mapped(stranger)
    found: list[bytes] = []
    thread = in_thread(lambda: found.append(device.table.read(16, 4)))
    asked = twin.receive()
    assert asked[1:5] == (DMA_READ, 0, 0, struct.pack("=QQ", 16, 4))
    read = struct.pack("=QII", 0, CONFIG, 4)
    assert stranger.answered(REGION_READ, read) == read + b"\0\1\2\3", "meanwhile as well"
    twin.send(DMA_READ, asked.payload + b"data", id=asked.id, flags=F_REPLY)
    thread.join(PATIENCE)
    assert found == [b"data"]


def test_an_unmap_waits_for_dma_under_way(stranger: Peer, twin: Peer, device: FakeDevice) -> None:
    mapped(stranger)
    thread = in_thread(lambda: device.table.write(0, b"late"))
    asked = twin.receive()
    unmap = struct.pack("=IIQQ", 24, 0, 0, PAGE)
    stranger.send(DMA_UNMAP, unmap)
    stranger.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        stranger.receive()
    stranger.sock.settimeout(PATIENCE)
    twin.send(DMA_WRITE, asked.payload[:16], id=asked.id, flags=F_REPLY)
    assert stranger.receive().payload == unmap
    thread.join(PATIENCE)


def test_a_client_that_hangs_up_one_hangs_up_both(
    stranger: Peer, twin: Peer, device: FakeDevice
) -> None:
    mapped(stranger)
    twin.close()
    with pytest.raises(DmaFault, match="hung up"):
        device.table.read(0, 4)
    assert stranger.ended()


def test_a_client_that_goes_while_dma_is_under_way(
    stranger: Peer, twin: Peer, device: FakeDevice
) -> None:
    mapped(stranger)
    faults: list[str] = []

    def read() -> None:
        with contextlib.suppress(DmaFault):
            device.table.read(0, 4)
            faults.append("there was none")

    thread = in_thread(read)
    twin.receive()
    stranger.close()
    assert twin.ended()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not faults


def test_a_client_that_does_not_answer_is_gone(device: FakeDevice) -> None:
    ours, theirs = socket.socketpair()
    with Server(device, theirs, timeout=0.5) as server, Peer(ours) as peer:
        thread = in_thread(server.serve_forever)
        (fd,) = peer.ask(VERSION, OFFER).fds
        with Peer(socket.socket(fileno=fd)) as twin:
            mapped(peer)
            with pytest.raises(DmaFault, match=r"did not answer VFIO_USER_DMA_READ within 0.5 s"):
                device.table.read(0, 4)
            assert twin.receive().command == DMA_READ
            assert peer.ended()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "capabilities",
    [
        b'{"capabilities":{"max_msg_fds":8}}\0',
        b'{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":false}}}\0',
        b'{"capabilities":{"max_msg_fds":8,"twin_socket":{}}}\0',
        b'{"capabilities":{"max_msg_fds":0,"twin_socket":{"supported":true}}}\0',
    ],
)
def test_clients_that_want_none(stranger: Peer, capabilities: bytes) -> None:
    payload = stranger.answered(VERSION, struct.pack("=HH", 0, 1) + capabilities)
    assert b"twin_socket" not in payload


def test_our_own_client_is_asked_there(device: FakeDevice) -> None:
    """Also while its only caller waits for the device, which waits for the memory."""
    memory = (ctypes.c_ubyte * PAGE)(*b"memory")
    device.on_read = lambda *_: device.table.write(4, device.table.read(0, 4))
    with client_of(device) as client:
        client.dma.map(0, PAGE, address=ctypes.addressof(memory))
        client.region_read(CONFIG, 0, 4)
        assert bytes(memory[:8]) == b"memomemo"
        client.dma.unmap(0, PAGE)


# Servers with such a socket, before our client.


def version(capabilities: object, fds: list[int]) -> Answer:
    text = json.dumps({"capabilities": capabilities}).encode() + b"\0"
    return struct.pack("=HH", 0, 1) + text, fds


def test_a_server_that_has_one(ours_and_script: tuple[socket.socket, Script]) -> None:
    ours, script = ours_and_script
    left, right = socket.socketpair()
    memory = (ctypes.c_ubyte * PAGE)(*b"memory")
    with right, Peer(left) as server:
        twin = {"twin_socket": {"supported": True, "fd_index": 1}}
        with open(os.devnull) as other:
            script.answers[VERSION] = version(twin, [other.fileno(), right.fileno()])
            script.answers[DMA_MAP] = b""
            with Client(ours, "server", timeout=PATIENCE) as client:
                right.close()
                client.dma.map(0, PAGE, address=ctypes.addressof(memory))
                read = struct.pack("=QQ", 0, 4)
                assert server.answered(DMA_READ, read) == read + b"memo"
                assert server.refused(99) != 0
            assert server.ended()


@pytest.mark.parametrize(
    ("twin", "count", "complaint"),
    [
        ({"supported": True}, 1, "fd None of 1"),
        ({"supported": True, "fd_index": 0}, 0, "fd 0 of 0"),
        ({"supported": True, "fd_index": 2}, 2, "fd 2 of 2"),
        ({"supported": True, "fd_index": -1}, 1, "fd_index -1"),
        ({"supported": True, "fd_index": "0"}, 1, "fd_index '0'"),
        ({"supported": True, "fd_index": 0}, 1, "no socket"),
        ({"supported": False, "fd_index": 0}, 1, "1 fds, and no twin socket"),
        ([], 0, "no JSON object"),
    ],
)
def test_lies_about_it(
    ours_and_script: tuple[socket.socket, Script], twin: object, count: int, complaint: str
) -> None:
    ours, script = ours_and_script
    with open(os.devnull) as file:
        script.answers[VERSION] = version({"twin_socket": twin}, [file.fileno()] * count)
        with pytest.raises(ProtocolError, match=complaint):
            Client(ours, "server", timeout=PATIENCE)


def test_a_twin_of_another_kind(ours_and_script: tuple[socket.socket, Script]) -> None:
    ours, script = ours_and_script
    with socket.socket(socket.AF_INET) as sock:
        twin = {"twin_socket": {"supported": True, "fd_index": 0}}
        script.answers[VERSION] = version(twin, [sock.fileno()])
        with pytest.raises(ProtocolError, match="no UNIX stream socket"):
            Client(ours, "server", timeout=PATIENCE)


@pytest.mark.parametrize("how", ["hang up", "rubbish", "slow"])
def test_a_server_that_loses_its_twin(
    ours_and_script: tuple[socket.socket, Script], how: str
) -> None:
    ours, script = ours_and_script
    left, right = socket.socketpair()
    gone: list[VfioError] = []
    with right, left:
        twin = {"twin_socket": {"supported": True, "fd_index": 0}}
        script.answers[VERSION] = version(twin, [right.fileno()])
        with Client(ours, "server", timeout=PATIENCE, on_gone=gone.append) as client:
            right.close()
            if how == "hang up":
                left.close()
            elif how == "rubbish":
                left.send(struct.pack("=HHIII", 1, DMA_READ, 3, 0, 0))
            else:
                left.send(b"\0")
                left.shutdown(socket.SHUT_WR)
            wait_until(lambda: bool(gone))
            assert client.gone is gone[0]
            with pytest.raises(VfioError):
                client.region_read(0, 0, 4)


def test_a_server_that_dies_with_both(ours_and_script: tuple[socket.socket, Script]) -> None:
    """Whichever is closed first: how the commands' socket ended is what is told."""
    ours, script = ours_and_script
    left, right = socket.socketpair()
    gone: list[VfioError] = []

    def die(asked: Received) -> None:
        left.close()
        time.sleep(0.05)
        script.peer.send(asked.command, id=asked.id, flags=F_REPLY, size=100)
        script.peer.sock.shutdown(socket.SHUT_WR)

    with right, left:
        twin = {"twin_socket": {"supported": True, "fd_index": 0}}
        script.answers[VERSION] = version(twin, [right.fileno()])
        script.answers[GET_REGION_INFO] = die
        with Client(ours, "server", timeout=PATIENCE, on_gone=gone.append) as client:
            right.close()
            with pytest.raises(DeviceGone, match="hung up in the middle of a message"):
                client.region_info(0)
            (told,) = gone
            assert str(told) == "server hung up in the middle of a message"


def test_a_server_that_dies_after_its_version(
    ours_and_script: tuple[socket.socket, Script],
) -> None:
    ours, script = ours_and_script
    left, right = socket.socketpair()
    with right, left:
        twin = {"twin_socket": {"supported": True, "fd_index": 0}}
        script.answers[VERSION] = version(twin, [right.fileno()])
        script.answers[GET_INFO] = lambda _: None
        with pytest.raises(DeviceSilent):
            Client(ours, "server", timeout=0.05)
