# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm run on a terminal: raw for the guest, and as it was whichever way it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from tests.kvm.cli.conftest import LIMIT, PYVMM

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]

CTRL_A, CTRL_C = b"\x01", b"\x03"


class Terminal:
    """A pseudo-terminal, and a pyvmm whose controlling terminal it is."""

    def __init__(self) -> None:
        self.keyboard, self._terminal = os.openpty()
        self.before = termios.tcgetattr(self._terminal)
        self.seen = b""
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *args: str | Path) -> None:
        self._process = subprocess.Popen(
            [*PYVMM, "run", *args],
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    @property
    def attributes(self) -> list[object]:
        return termios.tcgetattr(self._terminal)

    @property
    def raw(self) -> bool:
        return not termios.tcgetattr(self._terminal)[3] & (termios.ECHO | termios.ICANON)

    def expect(self, text: bytes) -> None:
        while text not in self.seen:
            self.seen += os.read(self.keyboard, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def status(self) -> int:
        """Wait for its end."""
        assert self._process is not None
        return self._process.wait(LIMIT)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        os.close(self.keyboard)
        os.close(self._terminal)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_ctrl_a_x_quits(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(cmdline="echo"))
    terminal.expect(b"q quits")
    assert terminal.raw
    terminal.type(b"abc" + CTRL_C + b"def")
    terminal.expect(b"abc" + CTRL_C + b"def")
    terminal.type(CTRL_A + b"x")
    # Not behind what the guest has said last.
    terminal.expect(b"\r\npyvmm: Ctrl-A X\r\n")
    assert terminal.status() == 0
    assert terminal.attributes == terminal.before


def test_ctrl_a_c_is_the_monitor(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(cmdline="echo", cpus=2, devices=[{"model": "edu"}]))
    terminal.expect(b"q quits")
    terminal.type(CTRL_A + b"c")
    terminal.expect(b"(pyvmm) ")
    terminal.type(b"vcpus\r")
    terminal.expect(b"\r\nvCPU 1 has never been started\r\n(pyvmm) ")
    terminal.type(b"devics\x7fes\r")
    terminal.expect(b"\r\n00:01.0 edu, a model in this process\r\n")
    terminal.seen = b""
    terminal.type(b"reset\r")
    terminal.expect(b"q quits\r\n")
    terminal.type(CTRL_A + b"C" + "größeq".encode())
    terminal.expect("größe\r\necho: done\r\nPASS\r\n".encode())
    assert terminal.status() == 0
    assert terminal.attributes == terminal.before


def test_what_a_guest_writes_is_not_changed(vm: Vm, terminal: Terminal) -> None:
    """A line feed of a guest in raw mode goes down, and not to the left."""
    terminal.run(vm(cmdline="echo"))
    terminal.expect(b"q quits\r\n")
    terminal.type(b"a\nb\rc\td\xc3\xa4")
    terminal.expect(b"a\nb\rc\td\xc3\xa4")
    terminal.type(b"q")
    assert terminal.status() == 0


def test_ctrl_a_h_helps(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(cmdline="echo"))
    terminal.expect(b"q quits")
    terminal.type(CTRL_A + b"h")
    terminal.expect(b"Ctrl-A X       quit")
    terminal.type(b"q")
    terminal.expect(b"PASS")
    assert terminal.status() == 0
    assert terminal.attributes == terminal.before


def test_a_guest_that_does_not_listen_can_be_quit(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(cmdline="crash=spin"))
    terminal.expect(b"command line")
    terminal.type(b"x" * 1000)
    terminal.type(CTRL_A + b"X")
    assert terminal.status() == 0
    assert terminal.attributes == terminal.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal(vm: Vm, terminal: Terminal, number: signal.Signals) -> None:
    terminal.run(vm(cmdline="crash=spin"))
    terminal.expect(b"command line")
    terminal.signal(number)
    assert terminal.status() == 128 + number
    assert terminal.attributes == terminal.before


def test_after_a_crash(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(cmdline="crash=triple"))
    terminal.expect(b"code at RIP")
    assert terminal.status() == exit_codes.GUEST_CRASH
    assert terminal.attributes == terminal.before
    # What is said when the terminal is raw still starts at the left.
    assert b"\npyvmm: error: vCPU 0 met a triple fault" in terminal.seen


def test_after_set_up_that_failed(vm: Vm, terminal: Terminal) -> None:
    terminal.run(vm(kernel="/no/such/kernel"))
    assert terminal.status() == exit_codes.BAD_IMAGE
    assert terminal.attributes == terminal.before


def test_a_terminal_that_is_closed(vm: Vm, terminal: Terminal) -> None:
    """As an ssh connection does it that breaks: nothing to read any more, and SIGHUP."""
    terminal.run(vm(cmdline="echo"))
    terminal.expect(b"q quits")
    replacement = os.open("/dev/null", os.O_RDWR)
    os.dup2(replacement, terminal.keyboard)
    os.close(replacement)
    assert terminal.status() == 128 + signal.SIGHUP
