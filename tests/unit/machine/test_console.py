# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Console: what scripts can wait for, send, and learn when it does not come."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from functools import partial

import pytest

from pyvmm.machine.console import Console
from pyvmm.machine.errors import ConsoleEnded, ConsoleTimeout
from pyvmm.machine.sink import Sink

LONG = 60.0
"""Seconds no test should need."""


def in_thread(function: Callable[[], object]) -> Callable[[], None]:
    """Run function on a thread; the returned call waits for its end."""
    thread = threading.Thread(target=function)
    thread.start()

    def join() -> None:
        thread.join(LONG)
        assert not thread.is_alive()

    return join


class Port:
    """A serial port that takes so many bytes of input, until it is given more room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""
        self.offered = threading.Event()

    def receive(self, data: bytes) -> int:
        now, self.room = data[: self.room], self.room - min(self.room, len(data))
        self.taken += now
        self.offered.set()
        return len(now)


class TestExpect:
    def test_goes_on_from_the_last_match(self) -> None:
        console = Console()
        console.output(b"one two one three\r\n")
        assert console.expect("one") == "one"
        assert console.expect("o.e") == "one"
        assert console.expect(r"\w+") == "three"
        with pytest.raises(ConsoleTimeout):
            console.expect("one", timeout=0)

    def test_takes_text_bytes_and_compiled_patterns(self) -> None:
        console = Console()
        console.output("größe: 12 KiB; GRAU".encode())
        assert console.expect("größe") == "größe"
        assert console.expect(rb"\d+") == "12"
        assert console.expect(re.compile("kib", re.IGNORECASE)) == "KiB"
        assert console.expect(re.compile(b"gr.u", re.IGNORECASE)) == "GRAU"

    def test_waits_for_what_comes_a_byte_at_a_time(self) -> None:
        console = Console()

        def talk() -> None:
            for byte in b"noise " * 2000 + b"login: ":
                console.output(bytes((byte,)))

        join = in_thread(talk)
        assert console.expect(r"log\w+: ", timeout=LONG) == "login: "
        join()

    def test_in_vain_shows_the_last_lines_and_leaves_the_place(self) -> None:
        console = Console()
        console.output(b"".join(b"line %d\r\n" % number for number in range(20)))
        with pytest.raises(ConsoleTimeout) as caught:
            console.expect("missing", timeout=0)
        assert str(caught.value) == (
            "within 0 s, the guest has not said what matches 'missing'; the last it said:\n"
            + "\n".join(f"  line {number}" for number in range(12, 20))
        )
        assert console.expect("line 0") == "line 0"

    def test_from_a_silent_guest(self) -> None:
        with pytest.raises(ConsoleTimeout, match=r"; it has said nothing$"):
            Console().expect("hello", timeout=0.01)

    def test_ends_when_the_guest_does(self) -> None:
        console = Console()
        console.output(b"bye\n")
        join = in_thread(console.ended)
        with pytest.raises(ConsoleEnded, match=r"without saying what matches 'hello'; the last.*"):
            console.expect("hello", timeout=LONG)
        join()
        # What it said before its end still counts.
        assert console.expect("bye", timeout=LONG) == "bye"


class TestReadLine:
    def test_lines_without_their_ends(self) -> None:
        console = Console()
        console.output(b"one\r\n\ntwo\nthr")
        assert [console.read_line() for _ in range(3)] == ["one", "", "two"]
        with pytest.raises(ConsoleTimeout, match="not said a whole line"):
            console.read_line(timeout=0)
        join = in_thread(partial(console.output, b"ee\n"))
        assert console.read_line(timeout=LONG) == "three"
        join()

    def test_and_expect_share_their_place(self) -> None:
        console = Console()
        console.output(b"answer: 42 of 50\nrest\n")
        console.expect("answer: ")
        assert console.read_line() == "42 of 50"


class TestMemory:
    def test_is_bounded_and_keeps_the_end(self) -> None:
        console = Console(limit=1000)
        for number in range(5000):
            console.output(b"%04d\n" % number)
        assert len(console.text) == 1000
        assert console.text.endswith("4998\n4999\n")

    def test_what_was_forgotten_is_not_found(self) -> None:
        console = Console(limit=1000)
        console.output(b"early\n")
        console.expect("ear")
        console.output(b"x" * 5000)
        console.output(b"late\n")
        with pytest.raises(ConsoleTimeout):
            console.expect("ly", timeout=0)
        assert console.expect("late") == "late"

    def test_bytes_that_are_no_text_can_be_shown(self) -> None:
        console = Console()
        console.output(b"\xff\xfeok")
        assert console.text == "\ufffd\ufffdok"

    def test_output_of_many_vcpus_is_all_there(self) -> None:
        console = Console()

        def talk() -> None:
            for _ in range(2000):
                console.output(b"x")

        for join in [in_thread(talk) for _ in range(4)]:
            join()
        assert console.text == "x" * 8000


class TestSend:
    def test_text_and_bytes(self) -> None:
        console, port = Console(), Port(100)
        console.connect(port.receive)
        console.send("ä\n")
        console.send(b"\x01")
        assert port.taken == "ä\n".encode() + b"\x01"

    def test_waits_for_room(self) -> None:
        console, port = Console(), Port(3)
        console.connect(port.receive)
        join = in_thread(lambda: console.send("0123456789", timeout=LONG))
        while port.taken != b"0123456789":
            assert port.offered.wait(LONG)
            port.offered.clear()
            port.room = 3
            console.room()
        join()

    def test_waits_for_the_port_itself(self) -> None:
        console, port = Console(), Port(100)
        join = in_thread(lambda: console.connect(port.receive))
        console.send("early", timeout=LONG)
        join()
        assert port.taken == b"early"

    def test_says_how_much_was_taken_in_time(self) -> None:
        console, port = Console(), Port(4)
        console.connect(port.receive)
        with pytest.raises(ConsoleTimeout, match=r"^within 0 s, the guest took 4 of 6 bytes of in"):
            console.send("sixsix", timeout=0)

    def test_to_a_guest_that_ends(self) -> None:
        console, port = Console(), Port(4)
        console.connect(port.receive)

        def end() -> None:
            assert port.offered.wait(LONG)
            console.ended()

        join = in_thread(end)
        with pytest.raises(
            ConsoleEnded, match=r"^the guest has ended; it took 4 of 6 bytes of inp"
        ):
            console.send("sixsix", timeout=LONG)
        join()
        assert console.offer(b"more") == 0

    def test_room_is_passed_on(self) -> None:
        console = Console()
        told = []
        console.on_room = lambda: told.append(True)
        console.room()
        assert told == [True]


def test_sinks_get_what_comes_from_then_on_and_are_closed(no_leaks: None) -> None:
    console = Console()
    reader, writer = os.pipe()
    console.output(b"before ")
    console.attach(Sink(writer, "the pipe", owned=True))
    console.output(b"after")
    console.close()
    console.close()
    console.output(b" the end")
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"after"
    assert console.text == "before after the end"
