# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Peers that die at any point of a migration, a DMA log, coalesced writes and the twin socket."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.vfio import DeviceError, Interval, VfioError
from pyvmm.vfio import MigrationState as State
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import (
    DMA_MAP,
    F_REPLY,
    GET_INFO,
    PATIENCE,
    VERSION,
    Peer,
    open_files,
    wait_until,
)
from tests.unit.vfio.migrating import (
    DEVICE_FEATURE,
    MIG_DATA_READ,
    MIG_DATA_WRITE,
    WRITE_MULTI,
    MigratingDevice,
)

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
MIGRATION, MIG_STATE, START, REPORT = 1, 2, 6, 8
OFFER = (
    b'{"capabilities":{"max_msg_fds":8,"write_multiple":true,"twin_socket":{"supported":true}}}\0'
)


def message(command: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack("=HHIII", command, command, 16 + len(payload), flags, 0) + payload


def to(state: State) -> bytes:
    payload = struct.pack("=IIIi", 16, SET | MIG_STATE, state, -1)
    return message(DEVICE_FEATURE, payload)


def conversation() -> bytes:
    write = struct.pack("=QII8s", 0x10, 0, 4, b"four")
    return b"".join(
        (
            message(VERSION, struct.pack("=HH", 0, 1) + OFFER),
            message(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x2000, 0x1000)),
            message(DEVICE_FEATURE, struct.pack("=IIQII", 24, SET | START, 4096, 0, 0)),
            message(WRITE_MULTI, struct.pack("=Q", 2) + 2 * write),
            to(State.PRE_COPY),
            message(MIG_DATA_READ, struct.pack("=II", 8 + 50, 50)),
            to(State.STOP_COPY),
            message(MIG_DATA_READ, struct.pack("=II", 8 + 50, 50)),
            to(State.RESUMING),
            message(MIG_DATA_WRITE, struct.pack("=II", 8 + 5, 5) + b"state"),
        )
    )


@pytest.fixture
def device() -> Iterator[MigratingDevice]:
    with MigratingDevice() as device:
        yield device


def connect(path: Path) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return Peer(sock)


def drain(peer: Peer) -> None:
    more = b"."
    while more:
        more, fds, _, _ = socket.recv_fds(peer.sock, 4096, 8)
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("loads", [True, False])
def test_clients_that_die_at_any_point(
    device: MigratingDevice, tmp_path: Path, loads: bool
) -> None:
    """After each byte, with and without reading the answers; also if what came is no state."""
    path = tmp_path / "device"
    with Server.listen(device, path, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        before = open_files()
        data = conversation()
        for length in range(0, len(data) + 1, 5 if loads else 11):
            with connect(path) as peer:
                peer.send_bytes(data[:length])
                if length % 2:
                    peer.sock.shutdown(socket.SHUT_WR)
                    drain(peer)
            # The next one finds the device as the first did.
            with connect(path) as peer:
                reply = peer.ask(VERSION, struct.pack("=HH", 0, 1))
                reply.close()
                assert device.fake_migration.state == State.RUNNING
                assert device.log.started is None
                assert all(stream.closed for stream in device.fake_migration.streams)
                device.fake_migration.streams.clear()
                if not loads:
                    error = DeviceError.answered("loading", 22)
                    device.fake_migration.fails = error if length % 3 else None
        device.fake_migration.fails = None
        wait_until(lambda: not server.statistics.connected)
        wait_until(lambda: open_files() == before)
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def replies() -> dict[int, Callable[[int], bytes]]:
    """What an honest server answers, by command, for the flags in a feature's request."""

    def feature(flags: int) -> bytes:
        if flags & PROBE or flags == SET | MIG_STATE:
            return struct.pack("=II", 8, flags) + (bytes(8) if flags == SET | MIG_STATE else b"")
        if flags == GET | MIGRATION:
            return struct.pack("=IIQ", 16, flags, 1)
        if flags == GET | MIG_STATE:
            return struct.pack("=IIIi", 16, flags, State.RUNNING, -1)
        if flags == GET | REPORT:
            return struct.pack("=IIQQQQ", 40, flags, 0, 0x4000, 4096, 1)
        return struct.pack("=IIQII", 24, flags, 4096, 0, 0)

    return {
        VERSION: lambda _: struct.pack("=HH", 0, 1),
        GET_INFO: lambda _: struct.pack("=IIII", 16, 3, 9, 5),
        DEVICE_FEATURE: feature,
        MIG_DATA_READ: lambda _: struct.pack("=II", 8 + 4, 4) + b"data",
        MIG_DATA_WRITE: lambda _: b"",
    }


def migrate(client: Client) -> None:
    stream = client.migration.set_state(State.STOP_COPY)
    assert stream
    with stream:
        assert stream.read(4) == b"data"
    stream = client.migration.set_state(State.RESUMING)
    assert stream
    with stream:
        stream.write(b"state")
    log = client.dma_logging
    log.start([])
    assert log.report(Interval(0, 0x4000)) == (Interval(0, 0x1000),)


def served_until(sock: socket.socket, limit: int) -> None:
    """Answer honestly until so many bytes were sent, then hang up."""
    left, honest = limit, replies()
    with Peer(sock) as peer, contextlib.suppress(EOFError, OSError):
        while left > 0:
            asked = peer.receive()
            asked.close()
            flags = struct.unpack_from("=II", asked.payload.ljust(8, b"\0"))[1]
            payload = honest[asked.command](flags)
            header = struct.pack("=HHIII", asked.id, asked.command, 16 + len(payload), F_REPLY, 0)
            peer.send_bytes((header + payload)[:left])
            left -= len(header) + len(payload)


def test_servers_that_die_at_any_point() -> None:
    """Whatever was answered last, the client raises VfioError, and keeps nothing."""
    before = open_files()
    ends: list[str] = []
    for limit in (*range(1, 600, 7), 1000):
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=served_until, args=(theirs, limit))
        thread.start()
        try:
            with Client(ours, timeout=PATIENCE) as client:
                migrate(client)
            ends.append("")
        except VfioError as error:
            ends.append(str(error))
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not ends.pop(), "all was answered"
    assert len(ends) > 50
    assert all("hung up" in end for end in ends if end)
    wait_until(lambda: open_files() == before)
