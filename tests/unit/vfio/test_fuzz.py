# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Random peers: whatever they send, nothing hangs, crashes, leaks, or answers nonsense."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import DeviceSilent, EventFd, Fds, Interval, MigrationState, VfioError
from pyvmm.vfio.user import Client, Server
from pyvmm.vfio.user.remote_migration import RemoteMigrationData
from tests.unit.vfio.fakes import (
    F_REPLY,
    PATIENCE,
    VERSION,
    Peer,
    open_files,
    wait_until,
)
from tests.unit.vfio.migrating import MigratingDevice

u64s = st.one_of(
    st.sampled_from([0, 1, 2, 4, 7, 8, 16, 20, 24, 32, 80, 0x1000, 0x2000, 0x3000, 1 << 20]),
    st.sampled_from([(1 << 31) - 1, (1 << 32) - 1, 1 << 63, (1 << 64) - 0x1000, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
u32s = u64s.map(lambda value: value & 0xFFFFFFFF)
structures = st.one_of(
    st.tuples(u32s, u32s, u32s, u32s).map(lambda f: struct.pack("=IIII", *f)),
    st.tuples(u32s, u32s, u32s, u32s, u32s).map(lambda f: struct.pack("=IIIII", *f)),
    st.tuples(u32s, u32s, u64s, u64s).map(lambda f: struct.pack("=IIQQ", *f)),
    st.tuples(u32s, u32s, u64s, u64s, u64s).map(lambda f: struct.pack("=IIQQQ", *f)),
    st.tuples(u32s, u32s, u32s, u32s, u64s, u64s).map(lambda f: struct.pack("=IIIIQQ", *f)),
    st.tuples(u64s, u32s, u32s).map(lambda f: struct.pack("=QII", *f)),
    st.tuples(u64s, u64s).map(lambda f: struct.pack("=QQ", *f)),
    st.tuples(u32s, st.integers(0, 10), st.integers(0, 7), u64s, u32s, u32s).map(
        lambda f: struct.pack("=IIQII", f[0], f[1] | f[2] << 16, *f[3:])
    ),
    st.just(b""),
)
payloads = st.tuples(structures, st.binary(max_size=40)).map(b"".join)
kinds_of_fd = st.lists(st.sampled_from(["eventfd", "memfd", "pipe"]), max_size=3)
# id, command, flags, error in the size, payload, fds
messages = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.one_of(st.integers(0, 20), st.integers(0, 0xFFFF)),
        st.one_of(st.just(0), st.sampled_from([1, 0x10, 0x11, 0x20, 0x21, 2])),
        st.one_of(st.just(0), st.sampled_from([-20, -1, 1, 5, 1 << 21])),
        payloads,
        kinds_of_fd,
    ),
    max_size=8,
)


@contextlib.contextmanager
def some_fds(kinds: list[str]) -> Iterator[list[int]]:
    fds: list[int] = []
    others: list[int] = []
    for kind in kinds:
        if kind == "eventfd":
            fds.append(os.eventfd(0, os.EFD_CLOEXEC))
        elif kind == "memfd":
            fds.append(os.memfd_create("fuzz"))
            os.ftruncate(fds[-1], 0x3000)
        else:
            reader, writer = os.pipe()
            fds.append(writer)
            others.append(reader)
    try:
        yield fds
    finally:
        for fd in fds + others:
            os.close(fd)


@contextlib.contextmanager
def served_stranger() -> Iterator[Peer]:
    """A client of our server; it must be gone, with all it left, when the client is."""
    with MigratingDevice() as device:
        before = open_files()
        ours, theirs = socket.socketpair()
        with Server(device, theirs, timeout=PATIENCE) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            with Peer(ours) as peer:
                yield peer
            thread.join(PATIENCE)
            assert not thread.is_alive()
        wait_until(lambda: open_files() == before)
        assert not device.triggers
        assert device.fake_migration.state == MigrationState.RUNNING
        assert all(stream.closed for stream in device.fake_migration.streams)


def drain(peer: Peer) -> None:
    """Take what the server answers until it ends: whole messages, each a reply or a command."""
    with contextlib.suppress(OSError):
        peer.sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            received = peer.receive()
            received.close()
            assert received.flags in (0, F_REPLY, F_REPLY | 0x20)


@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_to_the_server(data: bytes, greeted: bool) -> None:
    with served_stranger() as peer:
        if greeted:
            peer.answered(VERSION, struct.pack("=HH", 0, 1))
        with contextlib.suppress(OSError):
            peer.send_bytes(data)
        drain(peer)


@given(messages)
def test_random_messages_to_the_server(
    sequence: list[tuple[int, int, int, int, bytes, list[str]]],
) -> None:
    with served_stranger() as peer:
        peer.answered(VERSION, struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":9}}\0')
        for id, command, flags, skew, payload, kinds in sequence:
            with some_fds(kinds) as fds, contextlib.suppress(OSError):
                size = max(0, 16 + len(payload) + skew)
                peer.send(command, payload, fds, id=id, flags=flags, size=size)
        drain(peer)


uses: list[Callable[[Client], object]] = [
    lambda client: client.region_info(2),
    lambda client: client.map_region(2, Interval(0x1000, 0x2000)).close(),
    lambda client: client.irq_info(2),
    lambda client: client.region_read(0, 0, 4),
    lambda client: client.region_write(0, 0, b"1234"),
    lambda client: client.ioeventfds(0),
    lambda client: client.set_triggers(2, 0, [-1, -1]),
    lambda client: client.disable_irqs(0),
    lambda client: client.dma.unmap(0, 0x1000),
    lambda client: client.features.supported(),
    lambda client: client.migration.set_state(MigrationState.STOP_COPY),
    lambda client: RemoteMigrationData(client.features).read(64),
    lambda client: RemoteMigrationData(client.features).write(b"state"),
    lambda client: client.dma_logging.start([Interval(0, 0x1000)]),
    lambda client: client.dma_logging.report(Interval(0, 0x10000)),
    lambda client: client.reset(),
]


@contextlib.contextmanager
def client_of(answers: Callable[[Peer, int, int], None]) -> Iterator[socket.socket]:
    """A socket to a server that answers(peer, id, command) whatever it is asked."""
    before = open_files()
    ours, theirs = socket.socketpair()

    def run() -> None:
        with Peer(theirs) as peer, contextlib.suppress(EOFError, OSError):
            while True:
                received = peer.receive()
                received.close()
                answers(peer, received.id, received.command)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ours
    finally:
        ours.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    wait_until(lambda: open_files() == before)


def use_all(client: Client) -> None:
    """Each use returns or raises VfioError, and nothing else."""
    for use in uses:
        with contextlib.suppress(VfioError):
            use(client)
    with EventFd() as eventfd, contextlib.suppress(VfioError):
        client.set_irqs(0, 1 << 4, 0, 1, Fds([eventfd.fileno()]))


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=12))
def test_random_bytes_to_the_client(pieces: list[bytes]) -> None:
    """Each command is answered with some bytes; in the end the server hangs up."""
    left = list(pieces)

    def answer(peer: Peer, id: int, command: int) -> None:
        if not left:
            raise EOFError
        peer.send_bytes(left.pop(0))

    with (
        client_of(answer) as sock,
        contextlib.suppress(VfioError),
        Client(sock, timeout=0.05) as client,
    ):
        use_all(client)


@given(messages, st.booleans())
def test_random_replies_to_the_client(
    sequence: list[tuple[int, int, int, int, bytes, list[str]]], honest_header: bool
) -> None:
    """After an honest handshake: random messages, some of them in the form of the reply."""
    left = list(sequence)

    def answer(peer: Peer, id: int, command: int) -> None:
        if command == VERSION:
            peer.send(command, struct.pack("=HH", 0, 1), id=id, flags=F_REPLY)
        elif command == 4:
            peer.send(command, struct.pack("=IIII", 16, 3, 9, 5), id=id, flags=F_REPLY)
        elif not left:
            raise EOFError
        else:
            other_id, other, flags, skew, payload, kinds = left.pop(0)
            with some_fds(kinds) as fds:
                if honest_header:
                    peer.send(command, payload, fds, id=id, flags=F_REPLY | flags & 0x20)
                else:
                    size = max(0, 16 + len(payload) + skew)
                    peer.send(other, payload, fds, id=other_id, flags=flags, size=size)

    with (
        client_of(answer) as sock,
        contextlib.suppress(DeviceSilent),  # a busy machine may not be done with the handshake
        Client(sock, timeout=0.05) as client,
    ):
        use_all(client)
