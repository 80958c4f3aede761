# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A machine as a script has it: start, talk, wait, stop; and how a run can end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pyvmm.config import VmConfig
from pyvmm.machine import ConsoleEnded, ConsoleTimeout, End, Machine
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm


def test_hello(make: MakeMachine) -> None:
    vm = make("hello", cmdline="one two=3")
    vm.start()
    lines = [vm.console.read_line(LIMIT) for _ in range(5)]
    assert lines[0] == "Hello from the guest"
    assert lines[1] == "cpus: 1"
    assert lines[3:] == ["command line: one two=3", "PASS"]
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.code, outcome.ok) == (End.EXIT, 0, True)
    assert outcome is vm.outcome


@pytest.mark.parametrize("code", [1, 7, 99, 255])
def test_the_guests_own_exit_code(make: MakeMachine, code: int) -> None:
    vm = make("hello", cmdline=f"exit={code}")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.code, outcome.ok) == (End.EXIT, code, False)


def test_talking_to_the_guest(make: MakeMachine) -> None:
    vm = make("hello", cmdline="echo")
    vm.start()
    vm.console.expect(r"q [a-z]+s\r\n", LIMIT)
    vm.console.send("abc\x01 \x03")
    assert vm.console.expect(r"a.c\x01", LIMIT) == "abc\x01"
    # Far more than the serial port's FIFO holds.
    text = b"0123456789abcdef" * 60
    vm.console.send(text, LIMIT)
    assert vm.console.expect(b"(0123456789abcdef){60}", LIMIT).encode() == text
    vm.console.send("q")
    vm.console.expect(r"echo: done\r\nPASS", LIMIT)
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok


def test_what_is_not_said_in_time(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=hang")
    vm.start()
    vm.console.expect("crash=hang", LIMIT)
    with pytest.raises(ConsoleTimeout, match=r"login:'; the last it said:\n  Hello from") as failed:
        vm.console.expect("login:", timeout=0.01)
    assert "command line: crash=hang" in str(failed.value)
    assert vm.wait(timeout=0) is None
    assert vm.wait(timeout=0.01) is None
    assert vm.outcome is None


def test_what_is_never_said(make: MakeMachine) -> None:
    vm = make("hello")
    vm.start()
    with pytest.raises(ConsoleEnded, match=r"(?s)has ended without saying.*  PASS"):
        vm.console.expect("login:", LIMIT)
    with pytest.raises(ConsoleEnded):
        vm.console.send("more than it ever takes" * 1000)


@pytest.mark.parametrize("doing", ["hang", "spin"])
def test_stop(make: MakeMachine, doing: str) -> None:
    """In HLT inside the kernel, and in the midst of instructions."""
    vm = make("hello", cmdline=f"crash={doing}", cpus=2)
    vm.start()
    vm.console.expect("command line", LIMIT)
    outcome = vm.stop("enough")
    assert (outcome.end, outcome.detail, outcome.code) == (End.STOPPED, "enough", None)
    assert not outcome.ok
    assert vm.stop("again") is outcome
    assert vm.wait() is outcome


def test_the_first_to_end_it_says_how(make: MakeMachine) -> None:
    vm = make("hello", cmdline="exit=3")
    vm.start()
    vm.wait(LIMIT)
    assert vm.stop("too late").code == 3


def test_a_stop_from_another_thread(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=spin")
    vm.start()
    vm.console.expect("command line", LIMIT)
    threading.Thread(target=vm.request_stop, args=("elsewhere",)).start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.detail == "elsewhere"


def test_a_stop_before_the_start(make: MakeMachine) -> None:
    vm = make("hello", cpus=2)
    vm.build()
    vm.request_stop("changed my mind")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.STOPPED
    assert not vm.console.text


def test_leaving_the_block_stops_the_guest(config: Callable[..., VmConfig], no_leaks: None) -> None:
    with Machine(config("hello", cmdline="crash=spin", cpus=2)) as vm:
        vm.start()
        vm.console.expect("command line", LIMIT)
    assert vm.outcome is not None
    assert (vm.outcome.end, vm.outcome.detail) == (End.STOPPED, "closed")
    vm.close()


def test_an_exception_in_the_block_too(config: Callable[..., VmConfig], no_leaks: None) -> None:
    def script(vm: Machine) -> None:
        with vm:
            vm.start()
            raise ZeroDivisionError

    vm = Machine(config("hello", cmdline="crash=spin"))
    with pytest.raises(ZeroDivisionError):
        script(vm)
    assert vm.outcome is not None


def test_a_machine_runs_once(make: MakeMachine) -> None:
    vm = make("hello")
    vm.start()
    vm.wait(LIMIT)
    for again in (vm.start, vm.build):
        with pytest.raises(RuntimeError, match="once"):
            again()
    vm.close()
    with pytest.raises(RuntimeError, match="once"):
        vm.start()
    assert vm.console.text.count("Hello") == 1


def test_a_time_limit(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=hang", timeout=2)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok) == (End.TIMEOUT, False)
    assert outcome.detail == "the guest has not ended within 2 s"


def test_a_time_limit_that_is_not_reached(make: MakeMachine) -> None:
    vm = make("hello", timeout=3600)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok


@pytest.mark.parametrize(
    ("way", "end"),
    [
        ("poweroff", End.POWER_OFF),
        ("reset=i8042", End.RESET),
        ("reset=cf9", End.RESET),
        ("reset=acpi", End.RESET),
    ],
)
def test_a_guest_that_ends_without_a_code(make: MakeMachine, way: str, end: End) -> None:
    """A reset is no success: it is what many guests do when they panic."""
    vm = make("hello", cmdline=way, on_reset="exit")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.code, outcome.ok) == (end, None, end is End.POWER_OFF)


@pytest.mark.parametrize(
    ("way", "what"), [("triple", "triple fault"), ("fetch", "code where there is no memory")]
)
def test_a_guest_that_crashes(make: MakeMachine, way: str, what: str) -> None:
    vm = make("hello", cmdline=f"crash={way}")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok) == (End.CRASH, False)
    assert what in outcome.detail
    first, *details = outcome.report.splitlines()
    assert first == outcome.detail
    assert any("RIP" in line for line in details)
    assert any(line.startswith("code at RIP") for line in details)


@pytest.mark.parametrize(("way", "checks"), [("badport", 3), ("badmmio", 3)])
def test_reads_of_nothing(make: MakeMachine, way: str, checks: int) -> None:
    vm = make("hello", cmdline=f"crash={way}")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok
    assert vm.console.text.count("all-ones") == checks
    touched = vm.ports if way == "badport" else vm.mmio
    assert touched.unclaimed.reads >= checks
    assert touched.unclaimed.writes >= 1


class Broken:
    """A handler with a bug."""

    def read(self, offset: int, size: int) -> int:
        raise ZeroDivisionError("a bug")

    def write(self, offset: int, size: int, value: int) -> None:
        raise ZeroDivisionError("a bug")


def test_a_bug_of_ours(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=badport")
    vm.build()
    vm.ports.add(0x1234, 4, Broken())
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok) == (End.INTERNAL, False)
    assert "4-byte write to port 0x1234" in outcome.detail
    assert isinstance(outcome.cause, ZeroDivisionError)


def test_what_can_be_seen_of_a_run(make: MakeMachine) -> None:
    vm = make("hello")
    assert vm.stats() == {}
    vm.start()
    vm.wait(LIMIT)
    stats = vm.stats()
    # Each character that a guest writes is an exit.
    assert stats["exits"] > len(vm.console.text)
    phases = [name for name, _ in vm.phases.seconds]
    assert phases[0] == "guest RAM"
    assert phases[-1] == "vCPU threads"
    assert "KVM" in phases
    assert vm.phases.total > 0
    vm.close()
    assert vm.stats() == {}


@pytest.mark.parametrize("doing", ["hang", "spin"])
def test_counters_of_a_guest_that_stays_in_the_kernel(make: MakeMachine, doing: str) -> None:
    """KVM hands out a vCPU's statistics only while that isn't running."""
    vm = make("hello", cmdline=f"crash={doing}", cpus=2)
    vm.start()
    vm.console.expect("command line", LIMIT)
    first = vm.stats()
    assert vm.stats()["exits"] >= first["exits"] > 0
    assert vm.stop("enough").end is End.STOPPED


def test_several_machines_at_once(make: MakeMachine) -> None:
    machines = [make("hello", cmdline="echo") for _ in range(4)]
    for vm in machines:
        vm.start()
    for vm in machines:
        vm.console.expect("q quits", LIMIT)
    for number, vm in enumerate(machines):
        vm.console.send(f"machine {number}")
    for number, vm in enumerate(machines):
        assert vm.console.expect(r"machine \d", LIMIT) == f"machine {number}"
    machines[0].stop()
    for vm in machines[1:]:
        vm.console.send("q")
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.ok


def test_a_guest_that_hangs_is_looked_for(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=hang", cpus=2, timeout=1)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.TIMEOUT
    first, second = outcome.report.splitlines()
    assert first.startswith("vCPU 0 is halted at RIP 0x")
    assert first.endswith("interrupts disabled")
    assert second == "vCPU 1 has never been started"
