# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device, served and connected to, and the check that nothing is left behind."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator

import pytest

from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import PATIENCE, FakeDevice, open_files, wait_until


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """No test may leave a descriptor or a thread."""
    gc.collect()
    files, threads = open_files(), set(threading.enumerate())
    yield
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= threads)
    assert open_files() == files


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
def client(served: socket.socket) -> Iterator[Client]:
    """Our client, connected to our server of the device."""
    with Client(served.dup(), timeout=PATIENCE) as client:
        served.close()
        yield client
