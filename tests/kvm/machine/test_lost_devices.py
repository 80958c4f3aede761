# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device that is lost in mid-run: told once, and the guest goes on and reads all-ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.config import VmConfig
from pyvmm.machine import End, Machine
from pyvmm.models import create
from pyvmm.vfio import DeviceError, DeviceGone, DeviceSilent, ProtocolError, VfioError
from tests.kvm.between import Between, Meddle, patience
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.unit.vfio.fakes import GET_INFO, GET_REGION_INFO, REGION_READ, SET_IRQS, VERSION

pytestmark = pytest.mark.kvm

Config = Callable[..., VmConfig]

UNTIL_ITS_SERVER = "until its server runs again and the guest is reset"
"""How long a device behind a socket is lost: what people are told."""
UNTIL_A_RESET = "until the guest is reset"
"""Likewise one in a process of pyvmm's own."""

# A guest that uses its device long enough to lose it, and passes all the same.
STORM = "mode=mmio n=400"
# In the midst of that.
READ = 200


def children() -> list[int]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def test_a_process_that_is_killed(make: MakeMachine) -> None:
    notices: list[str] = []
    vm = make("edu", notices.append, devices=[{"model": "edu", "process": True}])
    vm.start()
    vm.console.expect("identity:", LIMIT)
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    # The guest goes on, and sees an empty slot.
    vm.console.expect("FAIL .* got 0xffffffff, ", LIMIT)
    assert vm.bus.config_read(1 << 3, 0, 4) == 0xFFFFFFFF
    outcome = vm.stop()
    (error,) = outcome.device_errors
    assert isinstance(error, DeviceGone)
    assert notices == [f"{error}; the guest goes on without the device {UNTIL_A_RESET}"]
    assert (
        str(error) == f"edu hung up; the process of edu (pid {pid}) was ended by signal 9 (Killed)"
    )


def test_a_process_that_is_killed_before_the_start(make: MakeMachine) -> None:
    notices: list[str] = []
    vm = make("hello", notices.append, devices=[{"model": "edu", "process": True}])
    vm.build()
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    assert vm.bus.config_read(1 << 3, 0, 4) == 0xFFFFFFFF
    deadline = time.monotonic() + 30
    while not vm._run.device_errors and time.monotonic() < deadline:
        time.sleep(0.001)  # another thread may have noticed it, and be about to tell
    with pytest.raises(DeviceGone, match=r"was ended by signal 9"):
        vm.start()
    assert notices == []


@pytest.mark.parametrize(
    ("meddle", "kind", "what"),
    [
        (Between.hang_up, DeviceGone, "hung up"),
        (Between.hang_up_half_way, DeviceGone, "hung up in the middle of a message"),
        (Between.fall_silent, DeviceSilent, "did not answer VFIO_USER_REGION_READ within 1 s"),
        (Between.send_nonsense, ProtocolError, "message of 0 bytes"),
        (Between.answer_another, ProtocolError, "that nothing asked for"),
        (Between.answer_too_little, ProtocolError, "1 bytes of payload instead of 20"),
        (Between.answer_too_much, ProtocolError, "5016 bytes of payload instead of 20"),
    ],
)
def test_a_server_that_goes_wrong(
    make: MakeMachine, sockets: Path, meddle: Meddle, kind: type[VfioError], what: str
) -> None:
    notices: list[str] = []
    path = sockets / "device"
    with create("edu") as edu, Between(path, edu, REGION_READ, meddle, after=READ) as between:
        devices = [{"socket": str(path), "timeout": patience(meddle)}]
        vm = make("storm", notices.append, cmdline=STORM, devices=devices)
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert between.met.is_set()
        assert "op=write" in vm.console.text
        # It did not check what it read. Still, that run is no success.
        assert (outcome.end, outcome.code) == (End.EXIT, 0)
        (error,) = outcome.device_errors
        assert type(error) is kind
        assert what in str(error)
        assert str(path) in str(error)
        assert notices == [f"{error}; the guest goes on without the device {UNTIL_ITS_SERVER}"]
        assert not outcome.ok
        vm.close()


def test_a_server_that_refuses(make: MakeMachine, sockets: Path) -> None:
    """Is told, and nothing more: the device is still there."""
    notices: list[str] = []
    path = sockets / "device"
    refuse = Between.refuse
    with create("edu") as edu, Between(path, edu, REGION_READ, refuse, after=READ):
        vm = make("storm", notices.append, cmdline=STORM, devices=[{"socket": str(path)}])
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.ok
        (notice,) = notices
        assert "EIO (Input/output error)" in notice
        vm.close()


WRONG = [
    (Between.hang_up, DeviceGone),
    (Between.fall_silent, DeviceSilent),
    (Between.send_nonsense, ProtocolError),
    (Between.answer_another, ProtocolError),
]


@pytest.mark.parametrize("command", [VERSION, GET_INFO, GET_REGION_INFO, REGION_READ, SET_IRQS])
@pytest.mark.parametrize(("meddle", "kind"), WRONG)
def test_a_server_that_goes_wrong_before_the_guest_runs(
    config: Config,
    no_leaks: None,
    sockets: Path,
    command: int,
    meddle: Meddle,
    kind: type[VfioError],
) -> None:
    notices: list[str] = []
    path = sockets / "device"
    with create("testdev") as device, Between(path, device, command, meddle):
        server = {"socket": str(path), "timeout": patience(meddle)}
        devices = [{"model": "edu", "process": True}, server]
        with pytest.raises(VfioError) as failed:
            Machine(config("hello", devices=devices), notices.append).start()
    assert type(failed.value) is kind
    assert str(path) in str(failed.value)
    assert notices == []


@pytest.mark.parametrize("command", [VERSION, GET_INFO, GET_REGION_INFO, REGION_READ])
def test_a_server_that_refuses_before_the_guest_runs(
    config: Config, no_leaks: None, sockets: Path, command: int
) -> None:
    path = sockets / "device"
    vm = Machine(config("hello", devices=[{"socket": str(path)}]))
    refused = pytest.raises(DeviceError, match=r"EIO \(Input/output error\)")
    with (
        create("testdev") as device,
        Between(path, device, command, Between.refuse),
        refused as failed,
    ):
        vm.start()
    assert str(path) in str(failed.value)
