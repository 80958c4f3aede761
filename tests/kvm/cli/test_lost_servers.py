# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Device servers that are dead, silent or lying, before boot and in mid-run, and what we exit with.

What is said, and what the guest sees, is the machine's to test; here it is that it is one line.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from pyvmm.models import create
from tests.kvm.between import Between, Meddle, patience
from tests.kvm.cli.conftest import Start, children, finish, read_until, run
from tests.unit.vfio.fakes import GET_REGION_INFO, REGION_READ

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]

GOES_ON = "the guest goes on without the device until its server runs again and the guest is reset"

WRONG = [
    (Between.hang_up, exit_codes.DEVICE_GONE, "hung up"),
    (Between.fall_silent, exit_codes.DEVICE_SILENT, "did not answer"),
    (Between.send_nonsense, exit_codes.DEVICE_LIED, "message of 0 bytes"),
    (Between.answer_too_little, exit_codes.DEVICE_LIED, "1 bytes of payload"),
]


@pytest.mark.parametrize(
    ("meddle", "status", "what"),
    [*WRONG, (Between.refuse, exit_codes.DEVICE_FAILED, "EIO (Input/output error)")],
)
def test_before_boot(vm: Vm, sockets: Path, meddle: Meddle, status: int, what: str) -> None:
    path = sockets / "device"
    with create("edu") as edu, Between(path, edu, GET_REGION_INFO, meddle, after=2):
        done = run("run", vm(devices=[{"socket": str(path), "timeout": patience(meddle)}]))
    done.refused(status, f"vfio-user server {path}", what)


@pytest.mark.parametrize(("meddle", "status", "what"), WRONG)
def test_in_mid_run(vm: Vm, sockets: Path, meddle: Meddle, status: int, what: str) -> None:
    path = sockets / "device"
    devices = [{"socket": str(path), "timeout": patience(meddle)}]
    config = vm("storm", cmdline="mode=mmio n=300", devices=devices)
    with create("edu") as edu, Between(path, edu, REGION_READ, meddle, after=200):
        done = run("run", config)
    # The guest goes on, and ends well; the status tells all the same.
    assert done.out.splitlines()[-1] == "PASS"
    assert done.err.startswith(f"pyvmm: vfio-user server {path}")
    assert what in done.err
    assert done.err.endswith(f"; {GOES_ON}\n")
    assert done.err.count("\n") == 1
    assert done.status == status


def test_a_process_of_ours_that_is_killed(vm: Vm, start: Start) -> None:
    config = vm("storm", cmdline="mode=mmio n=20000", devices=[{"model": "edu", "process": True}])
    with start("run", config) as pyvmm:
        read_until(pyvmm, "there is a device")
        (pid,) = children(pyvmm.pid)
        os.kill(pid, signal.SIGKILL)
        done = finish(pyvmm)
    assert done.err == (
        f"pyvmm: edu hung up; the process of edu (pid {pid}) was ended by signal 9 (Killed); "
        "the guest goes on without the device until the guest is reset\n"
    )
    assert done.out.splitlines()[-1] == "PASS"
    assert done.status == exit_codes.DEVICE_GONE


def test_a_server_that_is_killed(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    assert server.stderr is not None
    server.stderr.readline()
    config = vm("storm", cmdline="mode=mmio n=20000", devices=[{"socket": str(path)}])
    pyvmm = start("run", config)
    read_until(pyvmm, "there is a device")
    server.kill()
    done = finish(pyvmm)
    assert done.err == (
        f"pyvmm: vfio-user server {path} hung up; see what its server says; {GOES_ON}\n"
    )
    assert done.status == exit_codes.DEVICE_GONE
