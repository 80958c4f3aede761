# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Set-up that fails half-way, at every step of it: an error of ours, and nothing left behind."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pyvmm.boot import BootError
from pyvmm.config import VmConfig
from pyvmm.kvm import KvmError, KvmMissing, System
from pyvmm.machine import Machine, MachineError
from pyvmm.memory import GuestMemoryError, OutOfHostMemory
from pyvmm.models import ModelError
from pyvmm.pci.errors import BusConflict, NoRoom
from pyvmm.uapi import ioctl
from pyvmm.vfio import DeviceGone, ProtocolError, VfioError

pytestmark = pytest.mark.kvm

Config = Callable[..., VmConfig]

PROCESS: dict[str, object] = {"model": "edu", "process": True}
OURS = (BootError, GuestMemoryError, KvmError, MachineError, ModelError, VfioError)


def fails(config: VmConfig, kind: type[Exception], match: str | None = None) -> Exception:
    """The machine of this config can't be started; what it says."""
    vm = Machine(config)
    with pytest.raises(kind, match=match) as failed:
        vm.start()
    error = failed.value
    assert "\n" not in str(error)
    assert vm.outcome is None
    vm.close()
    return error


def test_an_unknown_model(config: Config, no_leaks: None) -> None:
    devices = [PROCESS, {"model": "edo", "process": True}]
    fails(config("hello", devices=devices), ModelError, match="did you mean 'edu'")
    devices = [PROCESS, {"model": "edo"}]
    fails(config("hello", devices=devices), ModelError, match="did you mean 'edu'")


def test_too_much_memory(config: Config, no_leaks: None) -> None:
    fails(config("hello", devices=[PROCESS], memory="60T"), OutOfHostMemory)


def test_no_kvm(config: Config, no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.machine.hardware.System", partial(System, "/dev/no-kvm"))
    fails(config("hello", devices=[PROCESS]), KvmMissing)


def test_no_image(config: Config, no_leaks: None) -> None:
    fails(config("no-such-guest", devices=[PROCESS]), BootError)


def test_no_server(config: Config, no_leaks: None, tmp_path: Path) -> None:
    devices = [PROCESS, {"model": "testdev"}, {"socket": str(tmp_path / "none")}]
    fails(config("hello", devices=devices), DeviceGone, match="start the server first")


def test_no_slot(config: Config, no_leaks: None) -> None:
    devices = [PROCESS, *[{"model": "edu"}] * 31]
    fails(config("hello", devices=devices), BusConflict, match="no free device number left")


def test_no_room_for_a_bar(config: Config, no_leaks: None) -> None:
    """Each testdev has ports, for which a root port needs 4096; there are 15 times that many."""
    devices = [{"model": "testdev", "root_port": True}] * 16
    error = fails(config("hello", devices=devices), NoRoom)
    assert "root port 16 at 00:10.0: its I/O window (0x1000 bytes) fits in no gap" in str(error)
    assert "assign fewer devices" in str(error)
    assert "assign testdev without root_port" in str(error)


def test_no_thread(config: Config, no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    vm = Machine(config("hello", cpus=2))
    vm.build()
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        with pytest.raises(MachineError, match=r"a thread for vCPU 0: .*; raise the limit"):
            vm.start()


class Faults:
    """KVM's ioctls; number `at` of them fails."""

    def __init__(self) -> None:
        self.at = -1
        self.calls = 0

    def __call__(self, fd: int, request: int, arg: ioctl.Argument = 0) -> int:
        self.calls += 1
        if self.calls - 1 == self.at:
            raise OSError(errno.EIO, "told to fail")
        return ioctl.ioctl(fd, request, arg)


def test_each_of_kvms_ioctls_failing(
    config: Config, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", faults)
    monkeypatch.setattr("pyvmm.kvm.system.ioctl", faults)
    settings = config("hello", cpus=2, devices=[{"model": "testdev"}])
    with Machine(settings) as vm:
        vm.build()
        steps = faults.calls
    assert steps > 20
    told = []
    for step in range(steps):
        faults.at, faults.calls = step, 0
        try:
            with Machine(settings) as vm:
                vm.build()
        except KvmError as error:
            told.append(str(error))
    # The others only ask for what can be done without.
    assert len(told) > steps * 3 / 4
    assert all("EIO" in line for line in told)


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """Only so many more file descriptors than are open can be opened."""
    taken = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as file:
        limit = file.fileno() + left
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, taken[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, taken)


@pytest.mark.parametrize("device", [{"model": "testdev"}, {"model": "testdev", "process": True}])
def test_too_few_file_descriptors(
    config: Config, no_leaks: None, device: dict[str, object]
) -> None:
    settings = config("hello", cpus=2, devices=[device])
    with Machine(settings) as vm:  # so that all is imported
        vm.build()
    told = []
    for left in range(200):
        with descriptors(left):
            try:
                with Machine(settings) as vm:
                    vm.build()
                break
            except OURS as error:
                # A server's file descriptors that we could not take look like none sent.
                told.append("EMFILE" if isinstance(error, ProtocolError) else str(error))
    assert len(told) > 10
    assert all("EMFILE" in line for line in told), told
