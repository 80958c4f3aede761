# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Signals: whatever ends pyvmm, nothing is left of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pyvmm.models import create
from tests.kvm.between import Between
from tests.kvm.cli.conftest import LIMIT, Start, children, finish, read_until
from tests.unit.vfio.fakes import PATIENCE, VERSION

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
DEVICE: dict[str, object] = {"model": "edu", "process": True}


class Process:
    """Somebody else's process, to see it end."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def ended(self) -> bool:
        """Wait for its end."""
        return bool(select.select([self._fd], [], [], LIMIT)[0])

    def close(self) -> None:
        os.close(self._fd)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_guest(vm: Vm, start: Start, number: signal.Signals) -> None:
    pyvmm = start("run", vm(cmdline="crash=spin", devices=[DEVICE]))
    read_until(pyvmm, "command line")
    (child,) = children(pyvmm.pid)
    with closing(Process(child)) as model:
        pyvmm.send_signal(number)
        done = finish(pyvmm)
        assert done.status == 128 + number
        assert done.err == f"pyvmm: {number.name}\n"
        assert model.ended()


def test_more_signals_change_nothing(vm: Vm, start: Start) -> None:
    pyvmm = start("run", vm(cmdline="crash=hang", cpus=4, devices=[DEVICE]))
    read_until(pyvmm, "command line")
    for number in SIGNALS * 10:
        pyvmm.send_signal(number)
    done = finish(pyvmm)
    # Which of them is handled first, when several wait, is up to the kernel.
    assert done.status - 128 in SIGNALS
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_setting_up(
    vm: Vm, start: Start, sockets: Path, number: signal.Signals
) -> None:
    """A server that does not answer for an hour holds nobody up."""
    path = sockets / "device"
    with (
        create("edu") as edu,
        Between(path, edu, VERSION, Between.fall_silent) as between,
    ):
        pyvmm = start("run", vm(devices=[DEVICE, {"socket": str(path), "timeout": 3600}]))
        assert between.met.wait(PATIENCE)
        (child,) = children(pyvmm.pid)
        with closing(Process(child)) as model:
            pyvmm.send_signal(number)
            done = finish(pyvmm)
            assert done == (128 + number, "", "")
            assert model.ended()


# pyvmm, and a Ctrl-C before any command has begun.
AT_ONCE = """
import os, signal
from pyvmm.cli import failures
from pyvmm.cli.main import main

failures.guarded = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)
main()
"""


def test_ctrl_c_before_there_is_anything_to_undo() -> None:
    """No traceback, and whoever started it sees that it was the signal."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], capture_output=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_so(vm: Vm, start: Start, number: signal.Signals) -> None:
    """As nohup and shells want it for what runs in the background."""
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        pyvmm = start("run", vm(cmdline="echo"), restore_signals=False)
    finally:
        signal.signal(number, handler)
    read_until(pyvmm, "q quits")
    pyvmm.send_signal(number)
    assert pyvmm.stdin is not None
    pyvmm.stdin.write("still here q")
    pyvmm.stdin.flush()
    done = finish(pyvmm)
    assert "still here" in done.out
    assert done.status == 0


def test_a_model_ends_with_a_pyvmm_that_was_killed(vm: Vm, start: Start) -> None:
    pyvmm = start("run", vm(cmdline="crash=spin", devices=[DEVICE, DEVICE]))
    read_until(pyvmm, "command line")
    first, second = (Process(pid) for pid in children(pyvmm.pid))
    with closing(first), closing(second):
        pyvmm.kill()
        assert finish(pyvmm).status == -signal.SIGKILL
        assert first.ended()
        assert second.ended()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_server(start: Start, sockets: Path, number: signal.Signals) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    assert server.stderr is not None
    assert server.stderr.readline() == f"pyvmm: edu is served at {path}; Ctrl-C ends it\n"
    assert path.is_socket()
    server.send_signal(number)
    assert finish(server) == (0, "", "")
    assert os.listdir(sockets) == []


def test_a_signal_ends_a_server_that_has_a_client(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "testdev", "--socket", path)
    assert server.stderr is not None
    server.stderr.readline()
    pyvmm = start("run", vm(cmdline="echo", devices=[{"socket": str(path)}]))
    read_until(pyvmm, "q quits")
    server.terminate()
    assert finish(server) == (0, "", "")
    assert os.listdir(sockets) == []
    assert pyvmm.stderr is not None
    assert "hung up; see what its server says; the guest goes on" in pyvmm.stderr.readline()
    pyvmm.communicate("q", timeout=LIMIT)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_blocked_is_heard(vm: Vm, start: Start, number: signal.Signals) -> None:
    """As a child has them of whoever waits for signals on one thread, or by a signalfd."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pyvmm = start("run", vm(cmdline="echo"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    read_until(pyvmm, "q quits")
    pyvmm.send_signal(number)
    assert finish(pyvmm).status == 128 + number
