# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Streams of a command in the lab: every byte, in its order, and the end where it is."""

from __future__ import annotations

import errno
import os
import pty
import select
import socket
import tty
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.lab.streams import NOWHERE, Ending, Input, Output

TOKEN = b"0011001100"
# Made of the token's bytes, so that beginnings of it are everywhere.
OUTPUTS = (
    st.text(alphabet="01x", max_size=60).map(str.encode).filter(lambda data: TOKEN not in data)
)


@given(OUTPUTS, st.lists(st.integers(1, 8), max_size=60))
def test_the_end_is_found_however_it_comes(output: bytes, sizes: list[int]) -> None:
    # The very first place where the token stands ends the stream.
    stream = output + TOKEN
    output = stream[: stream.index(TOKEN)]
    ending, got = Ending(TOKEN), b""
    while stream and not ending.complete:
        size = sizes.pop() if sizes else len(stream)
        got += ending.feed(stream[:size])
        stream = stream[size:]
        assert output.startswith(got)
    assert ending.complete
    assert got == output
    assert ending.feed(b"more") == b""


@given(OUTPUTS)
def test_without_the_token_nothing_is_lost(output: bytes) -> None:
    ending = Ending(TOKEN)
    assert ending.feed(output) + ending.cut_off() == output
    assert ending.complete


def test_only_what_may_be_the_token_is_held_back() -> None:
    ending = Ending(TOKEN)
    assert ending.feed(b"abc001") == b"abc"
    assert ending.feed(b"!") == b"001!"


def pump(stream: Input | Output) -> None:
    """Go on for as long as that is possible without a wait."""
    while (wish := stream.waits_for()) is not None:
        poll = select.poll()
        poll.register(*wish)
        if not poll.poll(0):
            return
        stream.go_on()


def test_output_waits_for_a_slow_reader() -> None:
    port, lab = socket.socketpair()
    reader, writer = os.pipe()
    data = os.urandom(300_000)
    output = Output(port, writer, TOKEN)
    got, sent = b"", 0
    lab.setblocking(False)
    stream = data + TOKEN
    while not output.done or select.select([reader], [], [], 0)[0]:
        if sent < len(stream):
            with suppress(BlockingIOError):
                sent += lab.send(stream[sent : sent + 60_000])
        pump(output)
        if select.select([reader], [], [], 0)[0]:
            got += os.read(reader, 10_000)
    assert got == data
    for end in (port, lab):
        end.close()
    os.close(reader)
    os.close(writer)


def test_output_without_a_reader_goes_on_and_says_so_once() -> None:
    port, lab = socket.socketpair()
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(port, writer, TOKEN)
    lab.sendall(b"hello")
    pump(output)
    assert output.failed() == errno.EPIPE
    assert output.failed() == 0
    lab.sendall(b"more" + TOKEN)
    pump(output)
    assert output.done
    for end in (port, lab):
        end.close()
    os.close(writer)


def test_output_that_can_not_be_written_is_told() -> None:
    port, lab = socket.socketpair()
    with open("/dev/full", "wb", buffering=0) as full:
        output = Output(port, full.fileno(), TOKEN)
        lab.sendall(b"hello" + TOKEN)
        pump(output)
        assert output.done
        assert output.failed() == errno.ENOSPC
    for end in (port, lab):
        end.close()


@pytest.mark.parametrize("target", [NOWHERE])
def test_output_to_nowhere(target: int) -> None:
    port, lab = socket.socketpair()
    output = Output(port, target, TOKEN)
    lab.sendall(b"hello" + TOKEN)
    pump(output)
    assert output.done
    for end in (port, lab):
        end.close()


def test_output_of_a_lab_that_ends() -> None:
    port, lab = socket.socketpair()
    reader, writer = os.pipe()
    output = Output(port, writer, TOKEN)
    lab.sendall(b"last words 0011")
    lab.close()
    pump(output)
    assert output.done
    assert os.read(reader, 100) == b"last words 0011"
    port.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("closing", [True, False])
def test_input_and_its_end(closing: bool) -> None:
    port, lab = socket.socketpair()
    reader, writer = os.pipe()
    os.write(writer, b"some input")
    os.close(writer)
    stream = Input(reader, port, closing=closing)
    pump(stream)
    assert stream.waits_for() is None
    assert not stream.hung_up
    assert lab.recv(100) == b"some input"
    lab.setblocking(False)
    if closing:
        assert lab.recv(100) == b""
    else:
        with pytest.raises(BlockingIOError):
            lab.recv(100)
    for end in (port, lab):
        end.close()
    os.close(reader)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_terminal_that_hangs_up(earlier: bool) -> None:
    port, lab = socket.socketpair()
    master, terminal = pty.openpty()
    tty.setraw(terminal)
    os.write(master, b"key")
    if earlier:
        os.close(master)
    stream = Input(terminal, port, closing=False)
    assert not stream.hung_up
    if not earlier:
        stream.go_on()
        stream.go_on()
        assert lab.recv(100) == b"key"
        assert not stream.hung_up
        os.close(master)
    pump(stream)
    assert stream.hung_up
    for end in (port, lab):
        end.close()
    os.close(terminal)


def test_an_end_of_file_from_the_keyboard_is_no_hanging_up() -> None:
    port, lab = socket.socketpair()
    master, terminal = pty.openpty()
    stream = Input(terminal, port, closing=False)
    os.write(master, b"\x04")
    pump(stream)
    assert stream.waits_for() is None
    assert not stream.hung_up
    for end in (port, lab):
        end.close()
    os.close(master)
    os.close(terminal)


def test_no_input() -> None:
    port, lab = socket.socketpair()
    stream = Input(NOWHERE, port, closing=True)
    assert stream.waits_for() is None
    assert lab.recv(1) == b""
    for end in (port, lab):
        end.close()
