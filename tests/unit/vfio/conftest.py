# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device, served and connected to, and the check that nothing is left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from pyvmm.vfio import VfioError
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import (
    PATIENCE,
    VERSION,
    FakeDevice,
    Peer,
    Script,
    open_files,
    wait_until,
)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """No test may leave a descriptor or a thread."""
    files, threads = open_files(), set(threading.enumerate())
    yield
    wait_until(lambda: set(threading.enumerate()) <= threads)
    left = set(open_files()) - set(files)
    assert not left, f"left open: {sorted(left)}"


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    with FakeDevice() as fake:
        yield fake


@pytest.fixture
def served(device: FakeDevice) -> Iterator[socket.socket]:
    """The client's end of a socket on which our server serves the device."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with Server(device, theirs, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ours
        ours.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def connected(served: socket.socket) -> Iterator[Client]:
    """Our client, connected to our server of the device."""
    with Client(served.dup(), timeout=PATIENCE) as client:
        served.close()
        yield client


@pytest.fixture
def ours_and_script() -> Iterator[tuple[socket.socket, Script]]:
    ours, theirs = socket.socketpair()
    script = Script(theirs)
    yield ours, script
    ours.close()
    with contextlib.suppress(OSError):
        script.peer.sock.shutdown(socket.SHUT_RDWR)
    script.thread.join(PATIENCE)
    script.peer.close()


@pytest.fixture
def script(ours_and_script: tuple[socket.socket, Script]) -> Script:
    return ours_and_script[1]


@pytest.fixture
def gone() -> list[VfioError]:
    """What on_gone was called with."""
    return []


@pytest.fixture
def client(
    ours_and_script: tuple[socket.socket, Script], gone: list[VfioError]
) -> Iterator[Client]:
    ours, _ = ours_and_script
    with Client(ours, "server", timeout=PATIENCE, on_gone=gone.append) as client:
        yield client


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("region")
    os.ftruncate(fd, 0x8000)
    yield fd
    os.close(fd)


@pytest.fixture
def stranger(served: socket.socket) -> Iterator[Peer]:
    """A client that has not said VERSION yet."""
    with Peer(served) as peer:
        yield peer


@pytest.fixture
def peer(stranger: Peer) -> Peer:
    """A client of version 0.1."""
    stranger.answered(VERSION, struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":8}}\0')
    return stranger


@pytest.fixture
def ram_fd() -> Iterator[int]:
    fd = os.memfd_create("ram", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 0x4000)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    yield fd
    os.close(fd)
