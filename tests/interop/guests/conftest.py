# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The test guests under QEMU alone: what starts it, and what a run leaves to look at."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import QEMU

TIMEOUT = 60.0  # seconds, for anything QEMU does
DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4")
MACHINE = ("-M", "q35", "-accel", "tcg", "-cpu", "max")


class Run(NamedTuple):
    """A guest that has ended."""

    status: int  # of the QEMU process
    lines: list[str]  # what the guest wrote to its serial port

    @property
    def code(self) -> int:
        """What the guest wrote to the debug-exit port."""
        ended_by_guest = self.status > 0 and self.status % 2 == 1
        assert ended_by_guest, f"not ended by the debug-exit port: status {self.status}"
        return self.status >> 1

    @property
    def failed(self) -> list[str]:
        return [line for line in self.lines if line.startswith("  FAIL")]


def command_line(image: Path, append: str, *options: str, qemu: Sequence[str] = QEMU) -> list[str]:
    """QEMU with nothing in the machine but what is asked for."""
    machine = () if "-M" in options else MACHINE
    return [
        *(*qemu, *machine, "-nodefaults", "-no-user-config"),
        *("-display", "none", "-vga", "none", "-m", "128"),
        *(() if guest_may_reset(append) else ("-no-reboot",)),
        *("-kernel", str(image), "-append", append),
        *options,
    ]


def guest_may_reset(append: str) -> bool:
    """Whether the guest is one that resets its machine again and again."""
    return "times=" in append


def serial_lines(text: bytes) -> list[str]:
    return text.decode("ascii").replace("\r\n", "\n").splitlines()


@pytest.fixture
def run(guests: Path, tmp_path: Path) -> Callable[..., Run]:
    """`run("hello", "exit=3", "-smp", "2")`: boot a guest, wait for its end."""

    def run(guest: str, append: str = "", *options: str) -> Run:
        serial = tmp_path / "serial"  # a file: QEMU's edu prints to stdout
        done = subprocess.run(
            [
                *command_line(guests / f"{guest}.elf", append, *DEBUG_EXIT, *options),
                *("-serial", f"file:{serial}"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Run(done.returncode, serial_lines(serial.read_bytes()))

    return run


class Qmp:
    """QEMU's monitor, in JSON, one message a line."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT)
        self._connection = connection
        self._stream = connection.makefile("rwb")
        self._events: list[dict[str, Any]] = []
        self._read()  # the greeting
        self.command("qmp_capabilities")

    def close(self) -> None:
        self._stream.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise EOFError("QEMU closed its monitor")
        message: dict[str, Any] = json.loads(line)
        return message

    def command(self, name: str) -> Any:
        """Execute a command without arguments; what it returns."""
        self._stream.write(json.dumps({"execute": name}).encode() + b"\n")
        self._stream.flush()
        while True:
            message = self._read()
            if "event" in message:
                self._events.append(message)
            else:
                return message["return"]

    def wait_event(self, name: str) -> dict[str, Any]:
        """The data of the next event of that name, dropping others."""
        while True:
            message = self._events.pop(0) if self._events else self._read()
            if message.get("event") == name:
                data: dict[str, Any] = message.get("data", {})
                return data


class Running(NamedTuple):
    """A guest that runs, or has shut down and can be looked at."""

    monitor: Qmp
    process: subprocess.Popen[bytes]
    serial: Path


@pytest.fixture
def start(guests: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`start("lspci")`: the same without debug-exit port, left standing when it powers off."""
    started: list[Running] = []

    def start(guest: str, append: str = "", *options: str) -> Running:
        ours, theirs = socket.socketpair()
        serial = tmp_path / "serial"
        with theirs:
            process = subprocess.Popen(
                [
                    *command_line(guests / f"{guest}.elf", append, *options),
                    *("-no-shutdown", "-serial", f"file:{serial}"),
                    *("-chardev", f"socket,id=monitor,fd={theirs.fileno()}"),
                    *("-mon", "chardev=monitor,mode=control"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        try:
            started.append(Running(Qmp(ours), process, serial))
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise
        return started[-1]

    yield start
    for running in started:
        running.monitor.close()
        running.process.kill()
        running.process.wait()
