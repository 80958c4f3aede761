# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""InputForwarder: all input arrives, no faster than it is taken, and close() is prompt."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

import pytest

from pyvmm.machine.input_forwarder import InputForwarder

pytestmark = pytest.mark.usefixtures("no_leaks")

LONG = 60.0


class Taker:
    """Takes so many bytes at a time; tells when it has got a number of bytes."""

    def __init__(self, at_once: int, target: int) -> None:
        self.at_once = at_once
        self.target = target
        self.taken = b""
        self.offered = threading.Semaphore(0)
        self.done = threading.Event()

    def __call__(self, data: bytes) -> int:
        now = data[: self.at_once]
        self.taken += now
        if len(self.taken) >= self.target:
            self.done.set()
        self.offered.release()
        return len(now)


def test_a_pipe_until_its_end() -> None:
    reader, writer = os.pipe()
    taker = Taker(1 << 20, 11)
    forwarder = InputForwarder(reader, taker)
    forwarder.start()
    os.write(writer, b"hello ")
    assert taker.offered.acquire(timeout=LONG)
    os.write(writer, b"world")
    assert taker.done.wait(LONG)
    assert taker.taken == b"hello world"
    os.close(writer)
    forwarder._thread.join(LONG)
    assert not forwarder._thread.is_alive()
    forwarder.close()
    forwarder.close()
    os.close(reader)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(bytes(range(256)) * 100)
    fd = os.open(path, os.O_RDONLY)
    taker = Taker(1 << 20, 25600)
    forwarder = InputForwarder(fd, taker)
    forwarder.start()
    assert taker.done.wait(LONG)
    assert taker.taken == path.read_bytes()
    forwarder.close()
    os.close(fd)


def test_what_was_not_taken_is_offered_again_and_nothing_read_meanwhile() -> None:
    reader, writer = os.pipe()
    taker = Taker(3, 10)
    forwarder = InputForwarder(reader, taker)
    forwarder.start()
    os.write(writer, b"0123456")
    assert taker.offered.acquire(timeout=LONG)
    os.write(writer, b"789")
    while not taker.done.is_set():
        # It waits for room: what was written since is still in the pipe.
        assert taker.taken in (b"012", b"012345", b"0123456", b"0123456789")
        if len(taker.taken) < 7:
            assert select.select([reader], [], [], 0)[0] == [reader]
        forwarder.room()
        assert taker.offered.acquire(timeout=LONG)
    assert taker.taken == b"0123456789"
    forwarder.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("at_once", [0, 100])
def test_close_waits_for_no_input_and_no_guest(at_once: int) -> None:
    reader, writer = os.pipe()
    taker = Taker(at_once, 1)
    forwarder = InputForwarder(reader, taker)
    forwarder.start()
    os.write(writer, b"x")
    assert taker.offered.acquire(timeout=LONG)
    forwarder.close()
    assert not forwarder._thread.is_alive()
    forwarder.room()  # a vCPU may still say so
    os.close(reader)
    os.close(writer)


def test_never_started() -> None:
    forwarder = InputForwarder(0, lambda data: len(data))
    forwarder.close()


@pytest.mark.parametrize("what", ["closed", "hung up", "directory"])
def test_input_that_fails_is_at_its_end(what: str, tmp_path: Path) -> None:
    if what == "closed":
        fd = 1000
    elif what == "hung up":
        master, fd = os.openpty()
        os.close(master)
    else:
        fd = os.open(tmp_path, os.O_RDONLY)
    forwarder = InputForwarder(fd, lambda data: len(data))
    forwarder.start()
    forwarder._thread.join(LONG)
    assert not forwarder._thread.is_alive()
    forwarder.close()
    if what != "closed":
        os.close(fd)


def test_a_nonblocking_descriptor() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    taker = Taker(100, 5)
    forwarder = InputForwarder(reader, taker)
    forwarder.start()
    os.write(writer, b"hello")
    assert taker.done.wait(LONG)
    forwarder.close()
    os.close(reader)
    os.close(writer)
