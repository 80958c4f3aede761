# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the monitor tells of a machine that runs, and that nothing keeps it from telling."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from pyvmm.machine import Machine
from pyvmm.machine.monitor import Monitor
from pyvmm.models import create
from tests.kvm.between import Between
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.kvm.machine.test_lost_devices import children
from tests.unit.vfio.fakes import PATIENCE, REGION_READ

pytestmark = pytest.mark.kvm


def ask(vm: Machine, command: str) -> list[str]:
    return Monitor(vm).execute(command).splitlines()


def test_status(make: MakeMachine) -> None:
    vm = make("hello", cmdline="echo", name="a guest", cpus=2)
    assert ask(vm, "status") == ["a guest: 2 vCPUs, 64 MiB of RAM", "is being built"]
    vm.start()
    vm.console.expect("q quits", LIMIT)
    assert re.fullmatch(r"has been running for \d+ s", ask(vm, "status")[1])
    vm.reset("the button")
    assert ask(vm, "status")[2] == "resets: 1, the last one because: the button"
    vm.console.expect("q quits", LIMIT)
    vm.console.send("q")
    vm.wait(LIMIT)
    assert ask(vm, "status")[1] == "has ended: the guest exited with code 0"


def test_devices(make: MakeMachine) -> None:
    devices = [
        {"model": "edu", "slot": "02.0"},
        {"model": "testdev", "process": True, "slot": "03.0"},
    ]
    vm = make("storm", cmdline="mode=irq n=1000000", devices=devices)
    assert ask(vm, "devices") == []
    vm.start()
    vm.console.expect("storm cpus", LIMIT)
    while "MSI-X, 1 of" not in "".join(ask(vm, "devices")):
        pass
    assert ask(vm, "devices") == [
        "00:00.0 host bridge",
        "00:02.0 edu, a model in this process",
        "    BAR 0: 32-bit memory, 1 MiB off, for 0xc0000000",
        "    interrupts: INTx, GSI 18",
        "    resets: 0",
        "00:03.0 testdev, a model in a process of its own",
        *ask(vm, "devices")[6:-2],
        "    interrupts: MSI-X, 1 of 64 vectors",
        "    resets: 0",
    ]
    bars = [line for line in ask(vm, "devices")[6:] if "BAR" in line]
    assert "    BAR 1: I/O, 256 bytes off, for 0x1000" in bars
    assert any(re.fullmatch(r"    BAR 2: 64-bit memory, 2 MiB at 0x[0-9a-f]+", bar) for bar in bars)
    vm.reset()
    assert "    resets: 1" in ask(vm, "devices")


def test_a_device_that_is_lost(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=hang", devices=[{"model": "edu", "process": True}])
    vm.start()
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    while len(ask(vm, "devices")) != 3:
        pass
    assert ask(vm, "devices")[2].startswith("    lost: edu hung up; the process of edu")


def test_exits(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=badport")
    vm.start()
    vm.wait(LIMIT)
    lines = ask(vm, "exits")
    assert lines[0] == "KVM's counters:"
    counters = dict(line.split() for line in lines if line.startswith("  "))
    assert int(counters["exits"]) > len(vm.console.text)
    assert lines[-1] == "unclaimed ports: 3 reads (answered with all-ones), 1 write (dropped)"


def test_vcpus(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=hang", cpus=3)
    vm.start()
    vm.console.expect("command line", LIMIT)
    while "is halted" not in ask(vm, "vcpus")[0]:
        pass
    first, *others = ask(vm, "vcpus")
    assert re.fullmatch(r"vCPU 0 is halted at RIP 0x[0-9a-f]+, interrupts disabled", first)
    assert others == ["vCPU 1 has never been started", "vCPU 2 has never been started"]


def test_looking_does_not_disturb(make: MakeMachine) -> None:
    """A guest with all its processors at work passes, as often as they are held to be looked at."""
    vm = make("storm", cmdline="mode=smp n=300", cpus=3, devices=[{"model": "testdev"}])
    vm.start()
    looks = 0
    while vm.wait(0.02) is None:
        lines = ask(vm, "vcpus")
        looks += len(lines) == 3
        assert all(re.match(r"vCPU \d (runs|is halted|has never) ", line) for line in lines), lines
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok, vm.console.text
    assert looks > 3


def test_a_vcpu_that_a_device_keeps(make: MakeMachine, sockets: Path) -> None:
    path = sockets / "device"
    devices = [{"socket": str(path), "timeout": 3600}]
    with (
        create("edu") as edu,
        Between(path, edu, REGION_READ, Between.fall_silent, after=200) as between,
    ):
        vm = make("storm", cmdline="mode=mmio n=400", devices=devices, cpus=2)
        vm.start()
        assert between.met.wait(PATIENCE)
        first, second = ask(vm, "vcpus")
        assert first == (
            "vCPU 0 waits for what answers an access of its: a device, or whoever takes the output"
        )
        assert second.startswith("vCPU 1 is halted at RIP")
        assert ask(vm, "reset") == ["the guest is being reset"], (
            "which waits too, but not whoever asks"
        )
        assert ask(vm, "quit") == ["the run ends"]
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.detail == "quit by the monitor"
        vm.close()


def test_asked_while_it_is_closed(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=spin", cpus=2, devices=[{"model": "edu"}])
    vm.start()
    vm.console.expect("command line", LIMIT)
    closed = threading.Event()

    def look() -> None:
        while not closed.is_set():
            for command in ("status", "devices", "vcpus", "exits"):
                ask(vm, command)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(3):
        ask(vm, "vcpus")
    vm.close()
    closed.set()
    for looker in lookers:
        looker.join(LIMIT)
        assert not looker.is_alive()
    assert ask(vm, "vcpus") == []
