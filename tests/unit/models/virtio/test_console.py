# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-console: what is said at its socket comes to the guest, and the other way round."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.models.virtio import VirtioConsole
from pyvmm.models.virtio.console import MOST, RECEIVE, TRANSMIT
from pyvmm.vfio import CannotListen

from .driver import DATA, LIMIT, Driver


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console"


@pytest.fixture
def driver(path: Path) -> Iterator[Driver]:
    with Driver(VirtioConsole(socket=str(path))) as driver:
        yield driver


def client(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(LIMIT)
    found.connect(str(path))
    return found


def say(driver: Driver, data: bytes) -> None:
    driver.memory[DATA : DATA + len(data)] = data
    assert driver.run([(DATA, len(data))], []) == 0


def exactly(there: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = there.recv(size - len(data))
        assert piece
        data += piece
    return data


def hear(driver: Driver, there: socket.socket, text: bytes) -> None:
    """Have the guest say something until it arrives: the client may just have come."""
    there.settimeout(0.2)
    end = time.monotonic() + LIMIT
    while True:
        say(driver, text)
        try:
            assert exactly(there, len(text)) == text
        except TimeoutError:
            assert time.monotonic() < end
        else:
            break
    there.settimeout(LIMIT)


def test_output(driver: Driver, path: Path) -> None:
    driver.start(queue=TRANSMIT)
    say(driver, b"nobody hears this")
    for _ in range(2):  # clients come and go
        with client(path) as there:
            hear(driver, there, b"hello\n")
            say(driver, b"again")
            assert exactly(there, 5) == b"again"


def test_input(driver: Driver, path: Path) -> None:
    """It waits for room, and room waits for it."""
    driver.start(queue=RECEIVE)
    with client(path) as there:
        driver.offer([], [(DATA, 4)], head=0)
        driver.offer([], [(DATA + 16, 100)], head=4)
        driver.notify()
        there.sendall(b"abcdef")
        assert driver.used(2) == [(0, 4), (4, 2)]
        assert driver.memory[DATA : DATA + 4] == b"abcd"
        assert driver.memory[DATA + 16 : DATA + 18] == b"ef"
        there.sendall(b"x")
        assert driver.run([], [(DATA, 8)]) == 1
        assert driver.memory[DATA : DATA + 1] == b"x"


def say_much(driver: Driver, count: int) -> None:
    """Offer so many buffers, of which there is room for two at once."""
    driver.memory[DATA : DATA + MOST] = b"x" * MOST
    for head in range(count):
        driver.offer([(DATA, MOST)], [], head=head)
    driver.notify()
    driver.used(2)


def test_a_client_that_does_not_read(driver: Driver, path: Path) -> None:
    """It holds up the guest, and not a byte is lost."""
    driver.start(queue=TRANSMIT)
    with client(path) as there:
        hear(driver, there, b"here\n")
        say_much(driver, 10)
        with pytest.raises(AssertionError, match="no more"):
            _used_within(driver, 8, 0.5)
        assert exactly(there, 10 * MOST) == b"x" * 10 * MOST
        _used_within(driver, 8, LIMIT)


def _used_within(driver: Driver, count: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while driver.waiting_used() < count:
        assert time.monotonic() < end, "so many, and no more"
        time.sleep(0.01)


def test_more_than_is_taken_at_once(driver: Driver, path: Path) -> None:
    driver.start(queue=TRANSMIT)
    with client(path) as there:
        hear(driver, there, b"here\n")
        driver.memory[DATA : DATA + MOST + 5] = b"y" * (MOST + 5)
        assert driver.run([(DATA, MOST + 5)], []) == 0
        assert exactly(there, MOST) == b"y" * MOST
        say(driver, b"z")
        assert there.recv(1) == b"z"


def test_reset_while_it_waits_for_input(driver: Driver, path: Path) -> None:
    driver.start(queue=RECEIVE)
    driver.offer([], [(DATA, 4)])
    driver.notify()
    driver.start(queue=RECEIVE)
    with client(path) as there:
        there.sendall(b"new")
        assert driver.run([], [(DATA + 64, 4)]) == 3
    assert driver.memory[DATA : DATA + 4] == bytes(4)


def test_one_that_has_sent_much_and_gone(driver: Driver, path: Path) -> None:
    """All of it is for the guest, though it is more than waits for it here."""
    driver.start(queue=RECEIVE)
    sent = bytes(range(256)) * 600
    with client(path) as there:
        there.sendall(sent)
    got = b""
    while len(got) < len(sent):
        size = driver.run([], [(DATA, 4096)])
        got += driver.memory[DATA : DATA + size]
    assert got == sent
    with client(path) as there:  # the next one's turn
        there.sendall(b"x")
        assert driver.run([], [(DATA, 4096)]) == 1


def test_one_that_has_said_all_it_has_to_say(driver: Driver, path: Path) -> None:
    driver.start(queue=TRANSMIT)
    with client(path) as there:
        hear(driver, there, b"here\n")
        there.sendall(b"quit\n")
        there.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        say(driver, b"answer")
        assert exactly(there, 6) == b"answer"
    with client(path) as there:
        hear(driver, there, b"next\n")


def test_last_words(driver: Driver, path: Path) -> None:
    driver.start(queue=TRANSMIT)
    with client(path) as there:
        hear(driver, there, b"here\n")
        say_much(driver, 3)
        closing = threading.Thread(target=driver.model.close)
        closing.start()
        received = b""
        while data := there.recv(1 << 20):
            received += data
        closing.join(LIMIT)
    assert len(received) >= 2 * MOST


def test_without_a_socket() -> None:
    with Driver(VirtioConsole()) as driver:
        driver.start(queue=TRANSMIT)
        say(driver, b"nobody hears this")
        driver.start(queue=RECEIVE)
        driver.offer([], [(DATA, 4)])
        driver.notify()
        time.sleep(0.1)
        assert driver.waiting_used() == 0


def test_a_place_that_is_taken(path: Path) -> None:
    path.write_text("")
    before = threading.active_count()
    with pytest.raises(CannotListen):
        VirtioConsole(socket=str(path))
    assert threading.active_count() == before


def test_nothing_is_left(path: Path) -> None:
    before = threading.active_count()
    with Driver(VirtioConsole(socket=str(path))), client(path):
        pass
    assert not path.exists()
    assert threading.active_count() == before
