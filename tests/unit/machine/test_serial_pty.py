# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""SerialPty: raw from the start, readers that come and go, and one that never does."""

from __future__ import annotations

import os
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyvmm.machine.console import Console
from pyvmm.machine.errors import ConsoleError
from pyvmm.machine.serial_pty import SerialPty

pytestmark = pytest.mark.usefixtures("no_leaks")

LONG = 60.0


class Line:
    def __init__(self) -> None:
        self.notices: list[str] = []
        self.console = Console()
        self.taken = b""
        self.done = threading.Event()
        self.console.connect(self._receive)
        self.pty = SerialPty(self.console, self.notices.append)
        self.pty.__enter__()

    def _receive(self, data: bytes) -> int:
        self.taken += data
        if b"." in data:
            self.done.set()
        return len(data)

    def open(self) -> int:
        return os.open(self.pty.name, os.O_RDWR | os.O_NOCTTY)

    def close(self) -> None:
        self.pty.__exit__()
        self.console.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def read(fd: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += os.read(fd, size - len(got))
    return got


def test_every_byte_passes_as_it_is(line: Line) -> None:
    fd = line.open()
    every = bytes(range(256))
    line.console.output(every)
    assert read(fd, 256) == every
    os.write(fd, every.replace(b".", b"") + b".")
    assert line.done.wait(LONG)
    assert line.taken == every.replace(b".", b"") + b"."
    os.close(fd)


def test_nothing_is_echoed(line: Line) -> None:
    """Before anybody has opened it, too: the guest would answer its own words."""
    fd = line.open()
    assert not termios.tcgetattr(fd)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    line.console.output(b"login: ")
    assert read(fd, 7) == b"login: "
    assert line.taken == b""
    os.close(fd)


def test_readers_come_and_go(line: Line) -> None:
    for text in (b"one", b"two"):
        line.console.output(text)
        fd = line.open()
        assert read(fd, 3) == text, "what came meanwhile is still there"
        os.write(fd, text + b".")
        assert line.done.wait(LONG)
        line.done.clear()
        os.close(fd)
    assert line.taken == b"one.two."


def test_nobody_ever_reads(line: Line) -> None:
    """Much is kept; what is lost is told in the end."""
    for _ in range(40):
        line.console.output(b"x" * (1 << 16))
    line.pty.__exit__()
    line.pty._sink.close(0.01)
    (notice,) = line.notices
    assert f"bytes of serial output are lost: {line.pty.name} took none for so long" in notice


def test_who_has_it_open_gets_the_last_of_it() -> None:
    line = Line()
    fd = line.open()
    text = b"the last words" * 1000
    line.console.output(text)
    line.pty.__exit__()
    closer = threading.Thread(target=line.console.close)
    closer.start()
    assert read(fd, len(text)) == text
    closer.join(LONG)
    assert not closer.is_alive()
    with suppress(OSError):  # EIO: it was hung up this moment
        assert os.read(fd, 10) == b""
    os.close(fd)
    assert not os.path.exists(line.pty.name)


def test_the_machine_may_be_closed_first() -> None:
    line = Line()
    line.console.close()
    line.pty.__exit__()


def test_a_host_that_has_none_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "openpty", refuse)
    with pytest.raises(ConsoleError, match=r"openpty: ENOSPC .*; this host has no pseudo-terminal"):
        SerialPty(Console(), lambda _: None)
