# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A guest that is reset, by itself or from outside: it boots again, in a machine as it was."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.boot import BootError
from pyvmm.config import VmConfig
from pyvmm.kvm import KvmError
from pyvmm.machine import End, Machine
from pyvmm.memory import RAM, MemoryRegion
from pyvmm.models import create
from pyvmm.vfio import DeviceGone, DeviceSilent, VfioError
from pyvmm.vfio.dma import DmaSpace
from tests.kvm.between import Between, Meddle
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.kvm.machine.test_lost_devices import UNTIL_A_RESET, UNTIL_ITS_SERVER, children
from tests.kvm.machine.test_threads import call_with_output
from tests.unit.vfio.fakes import PATIENCE, RESET

pytestmark = pytest.mark.kvm

PROCESS: dict[str, object] = {"model": "edu", "process": True}
UNUSED_RAM = 0x900000


def passes(vm: Machine, resets: int) -> None:
    """The guest finds its machine as it was, so often."""
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok, f"{outcome}\n{outcome.report}\n{vm.console.text}"
    assert vm.resets == resets
    assert vm.console.text.count("boot ") == resets + 1


# -- by the guest -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["i8042", "cf9", "acpi", "triple"])
def test_each_way(make: MakeMachine, way: str) -> None:
    passes(make("reset", cmdline=f"reset={way} times=2", on_triple_fault="reset"), 2)


@pytest.mark.parametrize("who", ["first", "last"])
def test_while_other_processors_run(make: MakeMachine, who: str) -> None:
    passes(make("reset", cmdline=f"reset=cf9 from={who} times=5", cpus=4), 5)


@pytest.mark.parametrize("process", [False, True])
def test_with_devices_in_use(make: MakeMachine, process: bool) -> None:
    """MSI, MSI-X and bus mastering are on, BARs moved; mapped areas and doorbells are theirs."""
    devices = [{"model": model, "process": process} for model in ("edu", "testdev")]
    vm = make("reset", cmdline="reset=cf9 from=last times=4", cpus=2, devices=devices)
    passes(vm, 4)
    assert [plugged.resets for plugged in vm.devices] == [4, 4]


@pytest.mark.parametrize("process", [False, True])
def test_devices_work_after_a_reset(make: MakeMachine, process: bool) -> None:
    """All of a device that its own guest tests, from the start and again."""
    vm = make("testdev", devices=[{"model": "testdev", "process": process}])
    vm.start()
    vm.console.expect(r"MSI-X.*:\r\n", LIMIT)
    assert vm.reset()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok, vm.console.text


def test_firmware(config: Callable[..., VmConfig], guests: Path, no_leaks: None) -> None:
    """Its ROM is a memslot that is there already."""
    from pyvmm.config import parse

    with Machine(parse({"firmware": str(guests / "firstbyte.bin")})) as vm:
        call_with_output(vm, vm.reset)
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.ok
        assert (vm.console.text, vm.resets) == ("HH", 1)


def test_not_at_all(make: MakeMachine) -> None:
    vm = make("hello", cmdline="reset=cf9", on_reset="exit")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok, vm.resets) == (End.RESET, False, 0)
    assert outcome.detail == (
        "the guest asked for a reset, by the reset control register; that ends the run "
        "(on_reset: exit)"
    )


def test_no_more_than_so_often(make: MakeMachine) -> None:
    vm = make("hello", cmdline="reset=i8042", max_resets=3)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok, vm.resets) == (End.RESET, False, 3)
    assert outcome.detail.startswith("the guest asked for a reset, by the i8042; it has had its 3 ")
    assert vm.console.text.count("Hello") == 4


def test_a_triple_fault_is_a_crash(make: MakeMachine) -> None:
    """Unless the config has it otherwise: what it tells is worth more than another boot."""
    vm = make("reset", cmdline="reset=triple")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, vm.resets) == (End.CRASH, 0)


def test_a_triple_fault_that_is_a_reset_may_end_the_run(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=triple", on_triple_fault="reset", on_reset="exit")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    told = "vCPU 0 met a triple fault; that ends the run (on_reset: exit)"
    assert (outcome.end, outcome.detail) == (End.RESET, told)


def test_the_time_limit_is_for_all_of_it(make: MakeMachine) -> None:
    vm = make("hello", cmdline="reset=cf9", timeout=1)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.TIMEOUT
    assert vm.resets > 1


# -- from outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("doing", ["echo", "crash=hang", "crash=spin"])
def test_the_button(make: MakeMachine, doing: str) -> None:
    """In HLT, with interrupts on or off, and in the midst of instructions."""
    vm = make("hello", cmdline=doing, cpus=2, on_reset="exit")
    vm.start()
    for _ in range(3):
        vm.console.expect(r"command line: .*\n", LIMIT)
        assert vm.reset()
    vm.console.expect(r"command line: .*\n", LIMIT)
    assert vm.resets == 3
    assert vm.stop().end is End.STOPPED


def test_talking_to_it_afterwards(make: MakeMachine) -> None:
    vm = make("hello", cmdline="echo")
    vm.start()
    vm.console.expect("q quits", LIMIT)
    vm.console.send("before")
    vm.console.expect("before", LIMIT)
    assert vm.reset()
    vm.console.expect("q quits", LIMIT)
    vm.console.send("afterq")
    vm.console.expect(r"after\r\necho: done\r\nPASS", LIMIT)
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok


def test_before_the_start(make: MakeMachine) -> None:
    vm = make("hello")
    for built in (False, True):
        if built:
            vm.build()
        with pytest.raises(RuntimeError, match="has not been started"):
            vm.reset()


def test_after_the_end(make: MakeMachine) -> None:
    vm = make("hello")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert not vm.reset()
    vm.close()
    assert not vm.reset()
    assert vm.outcome is outcome
    assert vm.resets == 0


def test_on_a_vcpus_thread_it_is_a_request(make: MakeMachine) -> None:
    vm = make("hello", cmdline="echo")
    answers: list[bool] = []
    call_with_output(vm, lambda: answers.append(vm.reset()))
    vm.start()
    vm.console.expect("q quits", LIMIT)
    assert answers == [False]
    assert vm.resets == 1
    assert vm.console.text.startswith("HHello"), "its first letter was the last thing it did"


# -- what stays -------------------------------------------------------------------------------


class Regions:
    """An observer of guest memory that has RAM come and go."""

    def __init__(self) -> None:
        self.changes = 0

    def region_added(self, region: MemoryRegion) -> None:
        self.changes += region.kind == RAM

    region_removed = region_added


@pytest.mark.parametrize("process", [False, True])
def test_ram_is_kept_and_not_mapped_again(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch, process: bool
) -> None:
    vm = make("hello", cmdline="echo", devices=[{"model": "testdev", "process": process}])
    vm.build()
    files = vm.vm.fd, vm.vm.vcpus[0].fd
    regions = Regions()
    vm.memory.add_observer(regions)
    regions.changes = 0
    maps: list[object] = []
    monkeypatch.setattr(DmaSpace, "map", lambda *_, **__: maps.append("map"))
    monkeypatch.setattr(DmaSpace, "unmap", lambda *_, **__: maps.append("unmap"))
    vm.start()
    vm.console.expect("q quits", LIMIT)
    vm.memory.write(UNUSED_RAM, b"kept")
    assert vm.reset()
    vm.console.expect("q quits", LIMIT)
    assert vm.memory.read(UNUSED_RAM, 4) == b"kept"
    assert files == (vm.vm.fd, vm.vm.vcpus[0].fd)
    assert (regions.changes, maps) == (0, [])
    vm.stop()
    monkeypatch.undo()
    vm.memory.remove_observer(regions)


def test_the_images_are_read_again(make: MakeMachine, guests: Path, tmp_path: Path) -> None:
    """So a kernel that was built meanwhile is what boots."""
    image = shutil.copy(guests / "hello.elf", tmp_path / "guest.elf")
    vm = make("", kernel=image, cmdline="crash=hang")
    vm.start()
    vm.console.expect("command line", LIMIT)
    os.unlink(image)
    shutil.copy(guests / "lspci.elf", image)
    assert vm.reset()
    vm.console.expect("functions: 1", LIMIT)


def test_images_of_the_cache_may_go_from_there(
    make: MakeMachine, guests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is swept while VMs run, of an initramfs after a day: that is none to the guest."""
    images = shutil.copy(guests / "hello.elf", tmp_path), str(tmp_path / "initrd")
    Path(images[1]).write_bytes(b"initrd")
    monkeypatch.setattr("pyvmm.machine.machine.find_images", lambda *_: images)
    vm = make("", kernel="debian:6.12", initrd={}, cmdline="crash=hang")
    vm.start()
    vm.console.expect("command line", LIMIT)
    for image in images:
        os.unlink(image)
    assert vm.reset()
    vm.console.expect("command line", LIMIT)


# -- what goes wrong --------------------------------------------------------------------------


def test_an_image_that_is_gone(make: MakeMachine, guests: Path, tmp_path: Path) -> None:
    image = shutil.copy(guests / "hello.elf", tmp_path / "guest.elf")
    vm = make("", kernel=image, cmdline="crash=hang", cpus=2)
    vm.start()
    vm.console.expect("command line", LIMIT)
    os.unlink(image)
    assert not vm.reset("a new kernel")
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.ok) == (End.RESET_FAILED, False)
    assert outcome.detail == "a new kernel; that failed"
    assert isinstance(outcome.cause, BootError)


def test_a_kvm_that_refuses(make: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise KvmError("told to fail")

    vm = make("hello", cmdline="reset=cf9")
    monkeypatch.setattr("pyvmm.kvm.reset.reset", refuse)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.RESET_FAILED
    assert isinstance(outcome.cause, KvmError)


def test_a_bug(make: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("a bug")

    vm = make("hello", cmdline="reset=cf9", cpus=2)
    monkeypatch.setattr("pyvmm.kvm.reset.reset", fail)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.INTERNAL
    assert isinstance(outcome.cause, ZeroDivisionError)


def test_a_device_that_is_lost_already(make: MakeMachine) -> None:
    """It comes back; the other one is reset, as ever."""
    notices: list[str] = []
    devices = [{**PROCESS, "slot": "01.0"}, {"model": "edu", "slot": "02.0"}]
    vm = make("hello", notices.append, cmdline="echo", devices=devices)
    vm.start()
    vm.console.expect("q quits", LIMIT)
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    while vm.bus.config_read(1 << 3, 0, 4) != 0xFFFFFFFF:
        pass
    assert vm.reset()
    vm.console.expect("q quits", LIMIT)
    assert vm.bus.config_read(1 << 3, 0, 4) == 0x11E81234
    assert vm.bus.config_read(2 << 3, 0, 4) == 0x11E81234
    assert [plugged.resets for plugged in vm.devices] == [1, 1]
    (error,) = vm.stop().device_errors
    lost = f"{error}; the guest goes on without the device {UNTIL_A_RESET}"
    assert notices == [lost, "edu is back"]


@pytest.mark.parametrize(
    ("meddle", "kind"),
    [(Between.hang_up, DeviceGone), (Between.fall_silent, DeviceSilent)],
)
def test_a_device_that_is_lost_by_it(
    make: MakeMachine, sockets: Path, meddle: Meddle, kind: type[VfioError]
) -> None:
    notices: list[str] = []
    path = sockets / "device"
    with create("edu") as edu, Between(path, edu, RESET, meddle, after=2) as between:
        devices = [{"socket": str(path), "timeout": 1}]
        vm = make("reset", notices.append, cmdline="reset=cf9 times=1", devices=devices)
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert between.met.is_set()
        assert "there is as much of a machine as at the first boot: got" in vm.console.text
        (error,) = outcome.device_errors
        assert isinstance(error, kind)
        lost, still = notices
        assert lost == f"{error}; the guest goes on without the device {UNTIL_ITS_SERVER}"
        assert f"{path} did not answer VFIO_USER_VERSION within 1 s" in still
        vm.close()


def test_a_device_that_refuses(make: MakeMachine, sockets: Path) -> None:
    """It is told, and the guest has it all the same: its function is as at the first boot."""
    notices: list[str] = []
    path = sockets / "device"
    with create("edu") as edu, Between(path, edu, RESET, Between.refuse, after=2):
        devices = [{"socket": str(path)}]
        vm = make("reset", notices.append, cmdline="reset=cf9 times=2", devices=devices)
        passes(vm, 2)
        (notice,) = notices
        assert "EIO (Input/output error)" in notice
        assert notice.endswith("; the guest finds it as it was left")
        vm.close()


@pytest.mark.parametrize("how", ["stop", "timeout", "close"])
def test_a_device_that_keeps_the_reset(make: MakeMachine, sockets: Path, how: str) -> None:
    """No stop and no time limit waits for it."""
    path = sockets / "device"
    devices = [{"socket": str(path), "timeout": 3600}]
    with create("edu") as edu, Between(path, edu, RESET, Between.fall_silent, after=2) as between:
        limit = {"timeout": 3} if how == "timeout" else {}
        vm = make("hello", cmdline="reset=cf9", devices=devices, cpus=2, **limit)
        vm.start()
        assert between.met.wait(PATIENCE)
        if how == "close":
            vm.close()
        else:
            outcome = vm.stop("enough") if how == "stop" else vm.wait(LIMIT)
            assert outcome is not None
            assert outcome.end is (End.STOPPED if how == "stop" else End.TIMEOUT)
            assert outcome.device_errors == ()
        assert vm.resets == 0
        vm.close()
