# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The serial line at a UNIX socket: clients that come, go, come again, never read, or crash."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyvmm.machine.console import Console
from pyvmm.machine.serial_socket import SerialSocket
from pyvmm.machine.unix_server import UnixServer
from pyvmm.vfio import CannotListen

pytestmark = pytest.mark.usefixtures("no_leaks")

LONG = 60.0
MUCH = bytes(range(256)) * 16384
"""4 MiB: more than a socket and a backlog hold."""


class Line:
    """A console that echoes in upper case what it takes, at a socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self.console = Console()
        self.room = 1 << 20
        self.taken = b""
        self.console.connect(self._receive)
        self.server = UnixServer(str(path), SerialSocket(self.console), self.notices.append)

    def _receive(self, data: bytes) -> int:
        now = data[: self.room]
        self.taken += now
        self.console.output(now.upper())
        return len(now)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LONG)
        client.connect(str(self.path))
        return client

    def close(self) -> None:
        self.server.close()
        self.console.close()


@pytest.fixture
def line(sockets: Path) -> Iterator[Line]:
    line = Line(sockets / "serial")
    yield line
    line.close()


def read(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = client.recv(size - len(got))
        assert more, f"it hung up after {got!r}"
        got += more
    return got


def read_all(client: socket.socket) -> bytes:
    got = b""
    while more := client.recv(65536):
        got += more
    return got


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_both_ways_and_every_byte(line: Line) -> None:
    every = bytes(range(256))
    with closing(line.connect()) as client:
        client.sendall(every)
        assert read(client, 256) == every.upper()
    assert line.taken == every
    assert line.notices == []


def test_one_after_the_other(line: Line) -> None:
    for text in (b"one", b"two", b"three"):
        with closing(line.connect()) as client:
            client.sendall(text)
            assert read(client, len(text)) == text.upper()
    assert line.notices == []


def test_a_second_client_waits_until_the_first_has_gone(line: Line) -> None:
    with closing(line.connect()) as first:
        first.sendall(b"first")
        assert read(first, 5) == b"FIRST"
        second = line.connect()
        second.sendall(b"second")
        first.sendall(b"again")
        assert read(first, 5) == b"AGAIN"
        assert b"second" not in line.taken
    with closing(second):
        assert read(second, 6) == b"SECOND"


def test_what_is_said_while_nobody_is_there_is_not_for_who_comes(line: Line) -> None:
    line.console.output(b"nobody hears this")
    with closing(line.connect()) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"X"
    assert line.console.text == "nobody hears thisX"


def test_one_that_closes_its_own_direction_still_hears(line: Line) -> None:
    """As `echo ... | socat - UNIX-CONNECT:...` does it."""
    with closing(line.connect()) as client:
        client.sendall(b"that was all")
        client.shutdown(socket.SHUT_WR)
        assert read(client, 12) == b"THAT WAS ALL"
        line.console.output(b" and more")
        assert read(client, 9) == b" and more"


def test_input_waits_for_the_guest(line: Line) -> None:
    line.room = 3
    with closing(line.connect()) as client:
        client.sendall(b"0123456789")
        until(lambda: line.taken == b"012")
        for _ in range(3):
            taken = len(line.taken)
            line.console.room()
            until(lambda: len(line.taken) > taken)  # noqa: B023
        assert line.taken == b"0123456789"


def test_one_that_never_reads_loses_output_and_holds_nobody_up(line: Line) -> None:
    with closing(line.connect()) as client:
        client.sendall(b"x")
        until(lambda: line.taken)
        before = time.monotonic()
        line.console.output(MUCH)
        assert time.monotonic() - before < LONG
    # It is told when that client has gone, and the next one is as good as any.
    with closing(line.connect()) as client:
        client.sendall(b"y")
        assert read(client, 1) == b"Y"
    (notice,) = line.notices
    lost, _, rest = notice.partition(" ")
    assert 0 < int(lost) < len(MUCH)
    assert rest == (
        f"bytes of serial output are lost: the client at {line.path} took none for so long"
    )


def test_one_that_reads_slowly_gets_all_of_it(line: Line) -> None:
    text = MUCH[: 1 << 20]
    with closing(line.connect()) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"X"
        line.console.output(text)
        assert read(client, len(text)) == text
    assert line.notices == []


CRASH = """
import os, signal, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"hello")
client.recv(3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_that_crashes(line: Line) -> None:
    for _ in range(3):
        subprocess.run([sys.executable, "-c", CRASH, line.path], check=False, timeout=LONG)
        line.console.output(b"to nobody")
    with closing(line.connect()) as client:
        client.sendall(b"y")
        assert read(client, 1) == b"Y"
    assert line.notices == []


def test_who_is_there_in_the_end_gets_the_last_of_it(line: Line) -> None:
    with closing(line.connect()) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"X"
        line.server.close()
        line.console.output(b"the last words")
        closer = threading.Thread(target=line.console.close)
        closer.start()
        assert read_all(client) == b"the last words"
        closer.join(LONG)


def test_the_file_is_removed(line: Line) -> None:
    assert stat.S_ISSOCK(line.path.stat().st_mode)
    line.server.close()
    assert not line.path.exists()
    line.server.close()


def test_a_place_that_is_taken(line: Line, sockets: Path) -> None:
    with pytest.raises(CannotListen, match="another server listens there; stop it"):
        Line(line.path)
    (sockets / "file").touch()
    with pytest.raises(CannotListen, match="there is a file that is no socket"):
        Line(sockets / "file")


def test_what_a_dead_server_has_left_is_taken_over(sockets: Path) -> None:
    path = sockets / "serial"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    line = Line(path)
    with closing(line.connect()) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"X"
    line.close()
    assert os.listdir(sockets) == []


def test_clients_that_come_and_go_all_the_time(line: Line) -> None:
    """While the guest talks, and until the end: nothing is left behind."""
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            line.console.output(b"chatter " * 100)

    def come_and_go() -> None:
        while not over.is_set():
            try:
                client = line.connect()
            except OSError:  # the server has ended
                return
            with closing(client):
                client.sendall(b"x")

    threads = [threading.Thread(target=talk)]
    threads += [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(line.taken) > 50)
    line.close()
    over.set()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
