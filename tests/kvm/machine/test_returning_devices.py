# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device that was lost comes back with a reset of the guest, or when it is asked for.

Its server is killed, as nothing can be in its way, and another one started where it was.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.machine import End, Machine
from pyvmm.models import create
from tests.conftest import open_fds
from tests.kvm.between import Between
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.kvm.machine.test_lost_devices import UNTIL_A_RESET, UNTIL_ITS_SERVER, children
from tests.kvm.machine.test_threads import call_with_output
from tests.unit.vfio.fakes import RESET

pytestmark = pytest.mark.kvm

NOTHING = 0xFFFFFFFF
EDU = 0x11E81234
TESTDEV = 0x7E571234
AT = 1 << 3
"""The address of the one device, on bus 0."""


class Servers:
    """`pyvmm serve` at one path, time and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._running: subprocess.Popen[str] | None = None

    def start(self, model: str) -> None:
        command = [sys.executable, "-m", "pyvmm", "serve", model, "--socket", str(self.path)]
        self._running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._running.stderr is not None
        assert "is served at" in self._running.stderr.readline()

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None


@pytest.fixture
def servers(sockets: Path, no_leaks: None) -> Iterator[Servers]:
    servers = Servers(sockets / "device")
    yield servers
    servers.kill()


class Guest:
    """A machine with one device behind a socket, and what people are told of it."""

    def __init__(
        self, make: MakeMachine, servers: Servers, guest: str, cmdline: str = "", **device: object
    ) -> None:
        self.notices: list[str] = []
        devices = [{"socket": str(servers.path), **device}]
        self.vm = make(guest, self.notices.append, cmdline=cmdline, devices=devices)

    def starts(self) -> Machine:
        self.vm.start()
        self.vm.console.expect("q quits", LIMIT)
        return self.vm

    def resets(self) -> None:
        assert self.vm.reset()
        self.vm.console.expect("q quits", LIMIT)

    def loses_it(self, servers: Servers) -> None:
        told = len(self.notices)
        servers.kill()
        until(lambda: len(self.notices) > told)
        assert self.notices[told:] == [self.loss]
        assert self.finds() == NOTHING

    @property
    def loss(self) -> str:
        """What people are told."""
        (*_, error) = self.vm._run.device_errors
        return f"{error}; the guest goes on without the device {UNTIL_ITS_SERVER}"

    def finds(self) -> int:
        """What is in its slot: device and vendor id."""
        bdf = 1 << 8 if self.vm.bus.bridges else 1 << 3
        return self.vm.bus.config_read(bdf, 0, 4)


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("model", ["edu", "testdev"])
def test_all_of_it_works_again(make: MakeMachine, servers: Servers, model: str) -> None:
    """BARs, mapped and trapped, doorbells, DMA, and each kind of interrupt."""
    servers.start(model)
    guest = Guest(make, servers, model)
    guest.vm.start()
    guest.vm.console.expect(r"MSI.*:\r\n", LIMIT)
    threads = guest.vm._run.threads
    assert threads is not None
    with threads.paused():  # in the midst of its tests, which would fail without the device
        servers.kill()
        servers.start(model)
        guest.vm.request_reset("its device is back")
    outcome = guest.vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.code == 0, guest.vm.console.text
    (error,) = outcome.device_errors
    assert str(error) == f"vfio-user server {servers.path} hung up; see what its server says"
    assert guest.notices == [guest.loss, f"vfio-user server {servers.path} is back"]


def test_while_the_guest_reads_its_registers(make: MakeMachine, servers: Servers) -> None:
    """It goes on reading, all-ones; and reads them again after the reset."""
    servers.start("edu")
    guest = Guest(make, servers, "storm", "mode=mmio n=100000000")
    vm = guest.vm
    vm.start()
    vm.console.expect("there is a device", LIMIT)
    guest.loses_it(servers)
    vain = vm.mmio.unclaimed.reads
    until(lambda: vm.mmio.unclaimed.reads > vain + 1000)
    servers.start("edu")
    assert vm.reset()
    vm.console.expect("there is a device", LIMIT)
    assert guest.finds() == EDU
    assert not vm.devices[0].function.guard.counts
    assert guest.notices[1:] == [f"vfio-user server {servers.path} is back"]


def test_a_process_of_ours_is_started_again(make: MakeMachine) -> None:
    notices: list[str] = []
    vm = make("edu", notices.append, devices=[{"model": "edu", "process": True}])
    vm.start()
    vm.console.expect(r"MSI.*:\r\n", LIMIT)
    threads = vm._run.threads
    assert threads is not None
    with threads.paused():
        (before,) = children()
        os.kill(before, signal.SIGKILL)
        vm.request_reset("its device is to be back")
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.code == 0, vm.console.text
    (error,) = outcome.device_errors
    assert notices == [
        f"{error}; the guest goes on without the device {UNTIL_A_RESET}",
        "edu is back",
    ]
    (now,) = children()
    assert now != before


def test_one_that_does_not_answer_gets_another_process(make: MakeMachine) -> None:
    """The one of before is ended, whatever it does."""
    devices = [{"model": "edu", "process": True, "timeout": 0.5}]
    vm = make("hello", cmdline="echo", devices=devices)
    vm.start()
    vm.console.expect("q quits", LIMIT)
    (before,) = children()
    os.kill(before, signal.SIGSTOP)
    assert vm.reset()
    (now,) = children()
    assert now != before
    assert vm.bus.config_read(AT, 0, 4) == EDU


@pytest.mark.parametrize("root_port", [False, True])
def test_not_before_its_server(make: MakeMachine, servers: Servers, root_port: bool) -> None:
    """Each reset tries; until then the guest finds nothing, and goes on."""
    servers.start("edu")
    guest = Guest(make, servers, "hello", "echo", root_port=root_port)
    vm = guest.starts()
    guest.loses_it(servers)
    guest.resets()
    assert guest.finds() == NOTHING
    refused = f"connecting to vfio-user server {servers.path}: connect: ECONNREFUSED"
    assert guest.notices[1].startswith(refused)
    assert guest.notices[1].endswith(
        "; the server that made this socket is gone; start it again; "
        f"the guest goes on without the device {UNTIL_ITS_SERVER}"
    )
    guest.resets()
    assert guest.notices[1:] == [guest.notices[1]] * 2
    servers.start("edu")
    guest.resets()
    assert guest.notices[3:] == [f"vfio-user server {servers.path} is back"]
    assert guest.finds() == EDU
    assert len(vm.stop().device_errors) == 1


@pytest.mark.parametrize("again", [False, True])
def test_another_device_is_refused(make: MakeMachine, servers: Servers, again: bool) -> None:
    """What is at its place was made for the one of before, which may still come."""
    servers.start("edu")
    guest = Guest(make, servers, "hello", "echo")
    vm = guest.starts()
    guest.loses_it(servers)
    servers.start("testdev")
    guest.resets()
    assert guest.finds() == NOTHING
    (refused,) = guest.notices[1:]
    assert refused == (
        f"vfio-user server {servers.path} is not the device it was: device 1234:7e57 instead of "
        "device 1234:11e8; have it serve the one that the guest booted with; "
        f"the guest goes on without the device {UNTIL_ITS_SERVER}"
    )
    if again:
        servers.kill()
        servers.start("edu")
        guest.resets()
        assert guest.finds() == EDU
    assert len(vm.stop().device_errors) == 1


def test_nothing_is_left_of_the_lost_ones(make: MakeMachine, servers: Servers) -> None:
    """No fd, no thread, no mapping, however often; mapped areas and doorbells are among them."""

    def kept() -> tuple[list[str], int, int]:
        with open("/proc/self/maps") as maps:
            shared = sum(" rw-s " in line for line in maps)
        return sorted(open_fds().values()), threading.active_count(), shared

    servers.start("testdev")
    guest = Guest(make, servers, "hello", "echo")
    vm = guest.starts()
    guest.resets()
    before = kept()
    for _ in range(3):
        guest.loses_it(servers)
        servers.start("testdev")
        guest.resets()
        assert guest.finds() == TESTDEV
    # Names of sockets and pipes have numbers.
    fds, threads, shared = kept()
    assert len(fds) == len(before[0])
    assert (threads, shared) == before[1:]
    assert len(vm.hardware._openers.connections) == 1  # type: ignore[union-attr]


def test_one_whose_server_goes_at_the_reset(make: MakeMachine, servers: Servers) -> None:
    """And is back at once, started by whoever watches over it: the guest never misses it."""
    notices: list[str] = []

    def again(between: Between, _message: object) -> None:
        between._listening.close()
        servers.path.unlink()
        servers.start("edu")
        raise EOFError

    with create("edu") as edu, Between(servers.path, edu, RESET, again, after=2) as between:
        devices = [{"socket": str(servers.path)}]
        vm = make("hello", notices.append, cmdline="echo", devices=devices)
        vm.start()
        vm.console.expect("q quits", LIMIT)
        assert vm.reset()
        assert between.met.is_set()
        assert vm.bus.config_read(AT, 0, 4) == EDU
        assert notices[1:] == [f"vfio-user server {servers.path} is back"]
        assert vm.devices[0].resets == 1
        vm.close()


@pytest.mark.parametrize("how", ["stop", "close"])
def test_the_end_does_not_wait_for_it(make: MakeMachine, servers: Servers, how: str) -> None:
    """Somebody listens where its server was, and doesn't say a word."""
    servers.start("edu")
    guest = Guest(make, servers, "hello", "echo", timeout=3600)
    vm = guest.starts()
    guest.loses_it(servers)
    servers.path.unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(servers.path))
        silent.listen()
        vm.request_reset("it may be back")
        connected, _ = silent.accept()
        with connected:
            if how == "close":
                vm.close()
            else:
                assert vm.stop().end is End.STOPPED
    assert [notice for notice in guest.notices[1:] if "hung up on" not in notice] == []
    assert vm.resets == 0


def test_without_a_reset(make: MakeMachine, servers: Servers) -> None:
    """For a guest that looks for it: as at power-on, where it was."""
    servers.start("edu")
    guest = Guest(make, servers, "hello", "echo")
    vm = guest.starts()
    assert vm.replug() == []
    (bar,) = vm.devices[0].function.bars
    vm.bus.config_write(AT, 4, 2, 2)
    assert bar.decoded() == bar.boot_address
    assert vm.devices[0].missing is None
    guest.loses_it(servers)
    assert "hung up" in str(vm.devices[0].missing)
    assert vm.replug() == []
    assert "; start it again; the guest goes on without" in guest.notices[-1]
    assert "ECONNREFUSED" in str(vm.devices[0].missing)
    servers.start("edu")
    assert vm.replug() == [f"vfio-user server {servers.path}"]
    assert vm.devices[0].missing is None
    assert guest.notices[-1] == f"vfio-user server {servers.path} is back"
    assert guest.finds() == EDU
    (bar,) = vm.devices[0].function.bars
    assert (bar.decoded(), bar.address) == (None, bar.boot_address)
    assert vm.replug() == []
    assert vm.resets == 0
    vm.console.send("q")
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.code == 0
    assert vm.replug() == []


def test_not_on_a_vcpus_thread(make: MakeMachine) -> None:
    vm = make("hello")
    refused: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(RuntimeError, match="on a vCPU's thread") as caught:
            vm.replug()
        refused.append(caught.value)

    assert vm.replug() == [], "there is nothing yet"
    call_with_output(vm, ask)
    vm.start()
    vm.wait(LIMIT)
    assert len(refused) == 1
