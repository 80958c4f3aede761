# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The monitor's language, and its socket. What it tells of a real machine is tested with those."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm import KvmError
from pyvmm.machine.errors import MachineError
from pyvmm.machine.monitor import PROMPT, Monitor
from pyvmm.machine.monitor_socket import MonitorSocket
from pyvmm.machine.unix_server import UnixServer
from pyvmm.memory import AddressMap

LONG = 60.0
COMMANDS = ["status", "devices", "exits", "vcpus", "reset", "replug", "quit", "help"]


class Vm:
    """What the monitor asks of a machine, and what it had done to it."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(
            name="vm", cpus=2, memory=SimpleNamespace(size=64 << 20), devices=()
        )
        self.is_built = False
        self.devices: list[Any] = []
        self.ports, self.mmio = AddressMap("ports"), AddressMap("MMIO")
        self.outcome: Any = None
        self.uptime: float | None = 12.3
        self.resets = 0
        self.last_reset = ""
        self.done: list[str] = []
        self.fails = False
        self.back: list[str] = []

    def stats(self) -> dict[str, int]:
        return {"exits": 7, "io_exits": 0}

    def whereabouts(self) -> str:
        if self.fails:
            raise KvmError("reading registers: told to fail")
        return "vCPU 0 is halted\nvCPU 1 runs"

    def request_reset(self, reason: str) -> None:
        self.done.append(reason)

    def replug(self) -> list[str]:
        if self.fails:
            raise MachineError("vCPU 0 can't be held")
        return self.back

    def request_stop(self, reason: str) -> None:
        self.done.append(reason)


@pytest.fixture
def vm() -> Vm:
    return Vm()


def monitor(vm: Vm) -> Monitor:
    return Monitor(vm)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", ""),
        ("  \t ", ""),
        ("vcpus", "vCPU 0 is halted\nvCPU 1 runs\n"),
        ("  v ", "vCPU 0 is halted\nvCPU 1 runs\n"),
        ("foo", "foo: no such command; `help` lists them\n"),
        ("Status", "Status: no such command; `help` lists them\n"),
        ("reset now", "reset takes no argument, got now\n"),
        ("status", "vm: 2 vCPUs, 64 MiB of RAM\nhas been running for 12 s\n"),
        ("reset", "the guest is being reset\n"),
        ("q", "the run ends\n"),
        ("re", "re: reset and replug begin like that; `help` lists them\n"),
        ("replug", "no device was lost\n"),
    ],
)
def test_answers(vm: Vm, line: str, answer: str) -> None:
    assert monitor(vm).execute(line) == answer


def test_what_the_commands_do(vm: Vm) -> None:
    asked = monitor(vm)
    asked.execute("reset")
    asked.execute("quit")
    assert vm.done == ["reset by the monitor", "quit by the monitor"]


def test_what_is_plugged_in_again(vm: Vm) -> None:
    vm.back = ["edu", "nvme"]
    lines = [f"{name} is back: have the guest look for it" for name in ("edu", "nvme")]
    assert monitor(vm).execute("replug").splitlines() == lines
    there, lost = (SimpleNamespace(name=name) for name in ("edu", "rng"))
    vm.devices = [
        SimpleNamespace(device=there, missing=None),
        SimpleNamespace(device=lost, missing=MachineError("nobody listens; start its server")),
    ]
    lines.append("rng is not back: nobody listens; start its server")
    assert monitor(vm).execute("replug").splitlines() == lines
    vm.fails = True
    assert monitor(vm).execute("replug") == "vCPU 0 can't be held\n"


def test_help_names_each_command(vm: Vm) -> None:
    lines = monitor(vm).execute("help").splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS


def test_status_of_a_machine_that_is_being_built(vm: Vm) -> None:
    vm.uptime = None
    assert monitor(vm).execute("status").endswith("\nis being built\n")
    assert monitor(vm).execute("reset") == "there is no guest that runs\n"
    assert vm.done == []


def test_status_of_one_with_a_single_vcpu(vm: Vm) -> None:
    vm.config.cpus = 1
    assert monitor(vm).execute("status").startswith("vm: 1 vCPU, 64 MiB of RAM\n")


def test_status_of_one_that_has_ended(vm: Vm) -> None:
    vm.outcome = SimpleNamespace(detail="the guest powered off")
    vm.resets, vm.last_reset = 3, "the guest asked for a reset, by the i8042"
    assert monitor(vm).execute("status").splitlines()[1:] == [
        "has ended: the guest powered off",
        "resets: 3, the last one because: the guest asked for a reset, by the i8042",
    ]
    assert monitor(vm).execute("reset") == "there is no guest that runs\n"


def test_what_kvm_refuses_is_the_answer(vm: Vm) -> None:
    vm.fails = True
    assert monitor(vm).execute("vcpus") == "reading registers: told to fail\n"


@given(st.text(max_size=30) | st.sampled_from(COMMANDS).map(lambda command: command[:1]))
def test_any_line_has_an_answer(line: str) -> None:
    vm = Vm()
    answer = Monitor(vm).execute(line)  # type: ignore[arg-type]
    assert answer == "" or answer.endswith("\n")


# -- its socket -------------------------------------------------------------------------------


@pytest.fixture
def path(vm: Vm, sockets: Path, no_leaks: None) -> Iterator[Path]:
    notices: list[str] = []
    with UnixServer(str(sockets / "monitor"), MonitorSocket(monitor(vm)), notices.append):
        yield sockets / "monitor"
    assert notices == []


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LONG)
    client.connect(str(path))
    return client


def answer(client: socket.socket) -> str:
    """Up to the next prompt, as a script reads it."""
    got = b""
    while not got.endswith(PROMPT.encode()):
        more = client.recv(1)
        assert more, f"it hung up after {got!r}"
        got += more
    return got.decode().removesuffix(PROMPT)


def test_a_script_asks(path: Path, vm: Vm) -> None:
    with closing(connect(path)) as client:
        assert answer(client) == ""
        for command, expected in (
            (b"vcpus\n", "vCPU 0 is halted\nvCPU 1 runs\n"),
            (b"vcpus\r\n", "vCPU 0 is halted\nvCPU 1 runs\n"),
            (b"\n", ""),
            (b"\xff\n", "\ufffd: no such command; `help` lists them\n"),
        ):
            client.sendall(command)
            assert answer(client) == expected
        client.sendall(b"res")
        client.sendall(b"et\nstatus\n")
        assert answer(client) == "the guest is being reset\n"
        assert answer(client).startswith("vm: 2 vCPUs")
    with closing(connect(path)) as client:
        assert answer(client) == ""


def test_all_is_answered_that_was_asked_before_the_end(path: Path) -> None:
    """As `echo status | socat - UNIX-CONNECT:...` does it."""
    with closing(connect(path)) as client:
        client.sendall(b"reset\n" * 50)
        client.shutdown(socket.SHUT_WR)
        for expected in ["", *["the guest is being reset\n"] * 50]:
            assert answer(client) == expected


def test_a_line_without_an_end(path: Path, vm: Vm) -> None:
    with closing(connect(path)) as client:
        answer(client)
        client.sendall(b"x" * 100_000 + b"\nreset\n")
        assert len(answer(client)) < 2000
        assert answer(client) == "the guest is being reset\n"


def test_what_is_half_typed_goes_with_its_client(path: Path) -> None:
    with closing(connect(path)) as client:
        answer(client)
        client.sendall(b"res")
    with closing(connect(path)) as client:
        answer(client)
        client.sendall(b"status\n")
        assert answer(client).startswith("vm: ")


def test_one_that_asks_and_never_reads_does_not_hold_up_the_end(
    vm: Vm, sockets: Path, no_leaks: None
) -> None:
    notices: list[str] = []
    server = UnixServer(str(sockets / "m"), MonitorSocket(monitor(vm)), notices.append)
    with closing(connect(sockets / "m")) as client:
        asked = threading.Event()

        def ask() -> None:
            try:
                for _ in range(100_000):
                    client.sendall(b"help\n" * 10)
                    asked.set()
            except OSError:
                pass

        asker = threading.Thread(target=ask)
        asker.start()
        assert asked.wait(LONG)
        server.close()
    asker.join(LONG)
    assert not asker.is_alive()
