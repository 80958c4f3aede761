# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""No close(2) of what peers have passed keeps anybody waiting, whatever hides in it.

The worst there is without a file system in user space: a TCP socket that lingers until its other
end reads, which it never does, waiting in the queue of a UNIX socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from pyvmm.vfio import DeviceGone, ProtocolError, passed_fds
from pyvmm.vfio.listening_socket import ListeningSocket
from pyvmm.vfio.passed_fds import close_passed, close_socket
from pyvmm.vfio.user import Client, Server
from pyvmm.vfio.user.protocol import VFIO_USER_VERSION
from pyvmm.vfio.user.transport import Transport
from tests.unit.vfio.fakes import PATIENCE, FakeDevice, Peer, open_files, wait_until


@pytest.fixture
def linger() -> Iterator[Callable[[], socket.socket]]:
    """linger(): a socket that takes for ever to close, or until the test is over."""
    others: list[socket.socket] = []

    def make() -> socket.socket:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname())
            others.append(listener.accept()[0])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 100_000))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(1 << 16))
        return sock

    yield make
    for other in others:
        other.close()
    close_passed([os.open("/dev/null", os.O_RDONLY)])  # with all that still waits
    wait_until(lambda: passed_fds._unfinished == 0)


@pytest.fixture
def nested(linger: Callable[[], socket.socket]) -> Callable[[], socket.socket]:
    """nested(): a UNIX socket that holds one of those."""

    def make() -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs, linger() as sock:
            socket.send_fds(theirs, [b"x"], [sock.fileno()])
        return ours

    return make


def in_time(function: Callable[[], object]) -> bool:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


@pytest.mark.parametrize("kind", ["linger", "nested"])
def test_a_passed_socket(request: pytest.FixtureRequest, kind: str) -> None:
    sock = request.getfixturevalue(kind)()
    stuck = sock.detach()
    reader, writer = os.pipe()
    assert in_time(lambda: close_passed([stuck, reader]))
    assert in_time(lambda: close_passed([writer]))
    for fd in (reader, writer):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    assert passed_fds._unfinished == 1


def test_closing_is_prompt_where_it_can_be() -> None:
    before = open_files()
    pipe = os.pipe()
    close_passed([*pipe, os.eventfd(0), os.memfd_create("memory")])
    ours, theirs = socket.socketpair()
    for _ in range(2):
        close_socket(ours)
    close_socket(theirs)
    wait_until(lambda: passed_fds._unfinished == 0)
    assert open_files() == before


def test_memory_and_eventfds_take_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise AssertionError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    close_passed([os.eventfd(0), os.memfd_create("memory")])


def test_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader, writer = os.pipe()
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        close_passed([reader])
    assert passed_fds._unfinished == 1
    close_passed([writer])
    wait_until(lambda: passed_fds._unfinished == 0)


def test_unread_messages(linger: Callable[[], socket.socket]) -> None:
    ours, theirs = socket.socketpair()
    transport = Transport(ours, "peer", 0.01)
    with theirs, linger() as sock:
        socket.send_fds(theirs, [b"x"], [sock.fileno()])
    assert in_time(transport.close)


def test_clients_that_nobody_accepted(
    linger: Callable[[], socket.socket], tmp_path: object
) -> None:
    path = f"{tmp_path}/sock"
    listening = ListeningSocket(path)
    with socket.socket(socket.AF_UNIX) as client, linger() as sock:
        client.connect(path)
        socket.send_fds(client, [b"x"], [sock.fileno()])
    assert in_time(listening.close)


def test_there_is_an_end_to_what_a_peer_can_leave_open(
    nested: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passed_fds, "_MOST", 1)
    ours, theirs = socket.socketpair()
    transport = Transport(ours, "peer", 0.01)
    with Peer(theirs) as peer:
        for _ in range(2):
            with nested() as sock:
                peer.send(1, fds=[sock.fileno()])
            with contextlib.closing(os.fdopen(os.memfd_create("memory"))) as memory:
                peer.send(1, fds=[memory.fileno()])
        for _ in range(2):  # memory can be passed all the same
            message = transport.receive()
            assert message
            message.close()
        with pytest.raises(ProtocolError, match="peer sent fds, while too many"):
            transport.receive()
        transport.close()


def test_a_server_takes_no_more_clients_while_too_much_is_open(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("pyvmm.vfio.user.server._RETRY", 0.001)
    looked = threading.Event()
    full = [True]

    def crowded() -> bool:
        looked.set()
        return full[0]

    monkeypatch.setattr("pyvmm.vfio.user.server.crowded", crowded)
    path = f"{tmp_path}/sock"
    with Server.listen(device, path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(DeviceGone, match="did not answer"):
            Client.connect(path, timeout=0.01)
        assert looked.is_set()
        full[0] = False
        Client.connect(path, timeout=PATIENCE).close()
        server.stop()
        thread.join(PATIENCE)


def test_the_next_client_is_served(
    nested: Callable[[], socket.socket], device: FakeDevice, tmp_path: object
) -> None:
    """Whatever the one before it has left: read with its message, and unread."""
    path = f"{tmp_path}/sock"
    with Server.listen(device, path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for command in (VFIO_USER_VERSION, 99):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                stuck = nested().detach()
                message = struct.pack("=HHIII", 1, command, 16, 0, 0)
                for _ in range(2):
                    socket.send_fds(sock, [message], [stuck])
                # The server may have been quicker: then this is what takes for ever.
                close_passed([stuck])
        Client.connect(path, timeout=PATIENCE).close()
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
