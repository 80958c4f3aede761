# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Stdio, in a process of its own: on a terminal, on pipes, and with a stdout that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import termios

# A guest that echoes what it gets in upper case, until it gets Q.
CHILD = """
import os, sys, threading
from types import SimpleNamespace
from pyvmm.machine.console import Console
from pyvmm.machine.stdio import Stdio

ended = threading.Event()
console = Console()

def receive(data):
    console.output(data.upper())
    if b"Q" in data.upper():
        ended.set()
    return len(data)

def notice(line):
    print("notice:", line, file=sys.stderr, flush=True)

def request_stop(why):
    notice(f"quit: {why}")
    ended.set()

console.connect(receive)
vm = SimpleNamespace(
    console=console, request_stop=request_stop, request_reset=notice, uptime=1.0, outcome=None
)
with Stdio(vm, notice):
    console.output(b"ready\\n")
    ended.wait()
console.close()
"""


PIPE = subprocess.PIPE


def run(stdin: int, stdout: int, stderr: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def read_until(fd: int, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        got += os.read(fd, 4096)
    return got


def test_on_a_terminal_ctrl_a_is_ours_and_the_rest_the_guests() -> None:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    with run(slave, slave, PIPE) as child:
        assert read_until(master, b"ready\n")
        os.write(master, b"ab\x03\x01\x01\x01hc\x01xd")
        assert read_until(master, b"C") == b"AB\x03\x01C"
        assert child.stderr is not None
        told = child.stderr.read().decode()
        assert child.wait(60) == 0
    assert told.startswith("notice: keys:\nCtrl-A X       quit")
    assert told.endswith("notice: quit: Ctrl-A X\n")
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_ctrl_a_c_is_the_monitor_and_back() -> None:
    """The guest goes on talking; what is typed is the monitor's, with its line editing."""
    master, slave = os.openpty()
    with run(slave, slave, PIPE) as child:
        read_until(master, b"ready\n")
        os.write(master, b"a\x01c")
        assert read_until(master, b"(pyvmm) ").startswith(b"A\r\nthe monitor: `help` lists its ")
        os.write(master, b"resex\x7ft\r")
        assert read_until(master, b"reset\r\n(pyvmm) ").endswith(
            b"\r\x1b[K(pyvmm) reset\r\nthe guest is being reset\r\n(pyvmm) "
        )
        os.write(master, b"half a line \xc3\xa4\x01cbc")
        assert read_until(master, b"BC").endswith(b"half a line \xc3\xa4\r\nBC")
        os.write(master, b"\x01C")
        assert read_until(master, b"\xc3\xa4").endswith(b"\r\n(pyvmm) half a line \xc3\xa4")
        os.write(master, b"\x15\x01cq")
        assert read_until(master, b"Q").endswith(b"\r\nQ")
        assert child.stderr is not None
        assert child.stderr.read() == b"notice: reset by the monitor\n"
        assert child.wait(60) == 0
    os.close(master)
    os.close(slave)


def test_the_monitor_is_on_the_terminal_if_stdout_is_not() -> None:
    master, slave = os.openpty()
    with run(slave, PIPE, PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        os.write(master, b"\x01creset\r")
        assert b"the guest is being reset\r\n(pyvmm) " in read_until(master, b"reset\r\n(pyvmm) ")
        os.write(master, b"\x01cq")
        assert child.stdout.read() == b"Q"
        assert child.wait(60) == 0
    os.close(master)
    os.close(slave)


def test_a_terminal_that_is_hung_up_ends_the_guest() -> None:
    master, slave = os.openpty()
    with run(slave, PIPE, PIPE) as child:
        os.close(slave)
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"ready\n"
        os.close(master)
        assert child.stderr.read() == b"notice: quit: the terminal was hung up\n"
        assert child.wait(60) == 0


def test_on_pipes_every_byte_is_the_guests() -> None:
    with run(PIPE, PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        out, _ = child.communicate(b"a\x01x\x01hq", timeout=60)
    assert out == b"A\x01X\x01HQ"
    assert child.returncode == 0


def test_much_of_it() -> None:
    with run(PIPE, PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        out, _ = child.communicate(b"x" * 300_000 + b"q", timeout=60)
    assert out == b"X" * 300_000 + b"Q"


def test_a_stdout_that_goes_away_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with run(PIPE, writer, PIPE) as child:
        os.close(writer)
        _, told = child.communicate(b"abcq", timeout=60)
    assert child.returncode == 0
    assert told.decode() == (
        "notice: writing serial output to stdout: write: EPIPE (Broken pipe); "
        "the rest of it is not written there\n"
    )
