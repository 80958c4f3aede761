# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices change hands for real: taken from drivers, given back, refused, given to users."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from pyvmm.doctor import Answer, HostUsage, NeededByHost, assignability
from pyvmm.uapi.pci_regs import PCI_COMMAND
from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import (
    HostFunction,
    IommuGroup,
    bind,
    functions,
    sysfs,
    unbind,
)
from tests.lab.nobody import NOBODY, as_nobody

pytestmark = pytest.mark.lab

STUB = "pci-stub"
BUSYBOX = "/run/pyvmm-lab/busybox"


@pytest.fixture
def edu(lab_device: Callable[[str], str]) -> Iterator[HostFunction]:
    """The edu device, which is vfio-pci's before and after the test."""
    yield from lent(lab_device("edu"))


@pytest.fixture
def nvme(lab_device: Callable[[str], str]) -> Iterator[HostFunction]:
    yield from lent(lab_device("nvme"))


@pytest.fixture
def nic(lab_device: Callable[[str], str]) -> Iterator[HostFunction]:
    yield from lent(lab_device("e1000e"))


def lent(bdf: str) -> Iterator[HostFunction]:
    function = HostFunction(bdf)
    yield function
    if function.driver != "vfio-pci":
        give_to(function, "vfio-pci")
    # Drivers leave what they had in the command register to be restored by the kernel.
    with open(f"{function.path}/config", "r+b", buffering=0) as config:
        config.seek(PCI_COMMAND)
        config.write(bytes(2))


def give_to(function: HostFunction, driver: str) -> None:
    """By hand, as somebody else would."""
    if not os.path.exists(f"/sys/bus/pci/drivers/{driver}"):
        subprocess.run([BUSYBOX, "modprobe", driver], check=True)
    sysfs.write(f"{function.path}/driver_override", driver)
    if function.driver is not None:
        sysfs.write(f"{function.path}/driver/unbind", function.bdf)
    sysfs.write("/sys/bus/pci/drivers_probe", function.bdf)
    assert function.driver == driver


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyvmm", *args], capture_output=True, text=True, check=False
    )


@pytest.mark.every_kernel
def test_devices_as_programs_see_them(lab_device: Callable[[str], str]) -> None:
    done = command("devices", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {device["address"]: device for device in json.loads(done.stdout)}
    assert list(shown) == [function.bdf for function in functions()]
    edu = shown[lab_device("edu")]
    assert (edu["vendor"], edu["device"], edu["driver"]) == (0x1234, 0x11E8, "vfio-pci")
    assert edu["assignable"]["answer"] == "now"
    assert edu["iommu_group"]["viable"]
    assert os.path.exists(edu["iommu_group"]["path"])
    assert edu["vfio_cdev"] is None or os.path.exists(edu["vfio_cdev"])
    assert {d["assignable"]["answer"] for d in shown.values() if d["bridge"]} == {"no"}


@pytest.mark.every_kernel
def test_the_former_driver_gets_it_back(edu: HostFunction) -> None:
    give_to(edu, STUB)
    (change,) = bind([edu.bdf])
    assert (change.before, change.after, edu.driver) == (STUB, "vfio-pci", "vfio-pci")
    assert os.path.exists(IommuGroup.of(edu).device_path)
    (change,) = unbind([edu.bdf])
    assert (change.after, edu.driver, edu.driver_override) == (STUB, STUB, STUB)


def test_also_by_another_process(edu: HostFunction) -> None:
    give_to(edu, STUB)
    done = command("bind", edu.bdf)
    assert (done.stdout, done.stderr) == (f"{edu}: {STUB} -> vfio-pci\n", "")
    done = command("unbind", edu.bdf)
    assert (done.stdout, done.stderr) == (f"{edu}: vfio-pci -> {STUB}\n", "")
    assert edu.driver == STUB


def test_what_vfio_had_without_us_goes_to_the_kernels_choice(edu: HostFunction) -> None:
    give_to(edu, STUB)
    give_to(edu, "vfio-pci")
    unbind([edu.bdf])
    assert (edu.driver, edu.driver_override) == (None, None)
    bind([edu.bdf])
    unbind([edu.bdf])
    assert (edu.driver, edu.driver_override) == (None, None)


def test_one_in_use_stays(edu: HostFunction) -> None:
    fd = os.open(IommuGroup.of(edu).device_path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with pytest.raises(HostDeviceUnavailable, match=r"is in use: .* is open in this process"):
            unbind([edu.bdf])
        verdict = assignability(edu, HostUsage())
        assert (verdict.answer, verdict.cure) == (Answer.LATER, "end that first")
    finally:
        os.close(fd)
    assert edu.driver == "vfio-pci"
    assert assignability(edu, HostUsage()).answer is Answer.NOW


def test_a_failure_gives_back_what_was_taken(
    edu: HostFunction, nvme: HostFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_to(edu, STUB)
    give_to(nvme, STUB)
    write = sysfs.write

    def probe_fails(path: str, text: str) -> None:
        if path.endswith("drivers_probe") and text == nvme.bdf:
            raise OSError(5, "broken")
        write(path, text)

    with monkeypatch.context() as broken:
        broken.setattr(sysfs, "write", probe_fails)
        with pytest.raises(HostDeviceUnavailable, match=f"giving {nvme} to vfio-pci: .*EIO"):
            bind([edu.bdf, nvme.bdf])
    assert (edu.driver, nvme.driver) == (STUB, STUB)


def test_a_disk_in_use_stays(nvme: HostFunction) -> None:
    give_to(nvme, "nvme")
    (name,) = wait_for(f"{nvme.path}/nvme/*/nvme*n1")
    disk = f"/dev/{os.path.basename(name)}"
    with open(disk, "r+b", buffering=0) as file:
        before = file.read(4096)
        subprocess.run(["mkswap", disk], check=True, capture_output=True)
        subprocess.run(["swapon", disk], check=True)
        try:
            with pytest.raises(NeededByHost, match=f"{nvme} holds swap space that is in use"):
                bind([nvme.bdf], allow=HostUsage().check)
        finally:
            subprocess.run(["swapoff", disk], check=True)
            file.seek(0)
            file.write(before)
    assert nvme.driver == "nvme"
    bind([nvme.bdf])
    unbind([nvme.bdf])
    assert nvme.driver == "nvme"


def test_the_only_network_route_stays(nic: HostFunction) -> None:
    give_to(nic, "e1000e")
    (path,) = wait_for(f"{nic.path}/net/*")
    name = os.path.basename(path)
    for args in (f"link set {name} up", f"route add default dev {name}"):
        subprocess.run([BUSYBOX, "ip", *args.split()], check=True)
    with pytest.raises(NeededByHost, match=rf"{nic} carries the only network route \({name}\)"):
        bind([nic.bdf], allow=HostUsage().check)
    assert nic.driver == "e1000e"
    subprocess.run([BUSYBOX, "ip", "route", "del", "default"], check=True)
    bind([nic.bdf])
    assert nic.driver == "vfio-pci"


def wait_for(pattern: str) -> list[str]:
    """The paths that match, of which the kernel makes one some time after a driver's probe."""
    deadline = time.monotonic() + 30
    while not glob.glob(pattern):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.01)
    return glob.glob(pattern)


def test_a_whole_group(lab_devices: Callable[[str], list[str]]) -> None:
    """Behind a conventional bridge, which is in the group too."""
    together = {}
    for kind in ("nvme", "edu"):
        for bdf in lab_devices(kind):
            group = IommuGroup.of(HostFunction(bdf))
            if len([f for f in group.functions if not f.is_bridge]) > 1:
                together[kind] = HostFunction(bdf)
    one, other = together["nvme"], together["edu"]
    group = IommuGroup.of(one)
    try:
        unbind([one.bdf], whole_group=True)
        assert "vfio-pci" not in (one.driver, other.driver)
        changes = bind([one.bdf], whole_group=True)
        assert {change.function for change in changes} == {one, other}
        assert group.viable
    finally:
        bind([one.bdf, other.bdf])


def test_the_root_disk_stays() -> None:
    """In the lab it is the host's directory, by 9p, beneath an overlay."""
    usage = HostUsage()
    holders = [function for function in functions() if usage.losses([function])]
    # The other one carries the ports by which the lab is talked to.
    assert [function.driver for function in holders] == ["virtio-pci", "virtio-pci"]
    done = command("bind", holders[0].bdf)
    assert done.returncode == 119
    assert f"{holders[0]} may hold the root file system" in done.stderr
    with pytest.raises(NeededByHost):
        bind([holders[0].bdf], whole_group=True, allow=usage.check)
    assert holders[0].driver == "virtio-pci"


def test_a_user_without_privileges(edu: HostFunction) -> None:
    paths = [IommuGroup.of(edu).device_path, "/dev/vfio/vfio"]
    if edu.vfio_cdev:
        paths = [*paths, edu.vfio_cdev, "/dev/iommu"]
    assert denied(paths) != []
    bind([edu.bdf], user=str(NOBODY))
    assert denied(paths) == []
    unbind([edu.bdf])
    bind([edu.bdf])
    there = ["/dev/vfio/vfio", *(p for p in paths if p != "/dev/vfio/vfio" and os.path.exists(p))]
    assert set(denied(there)) == set(there) - {"/dev/vfio/vfio"}


def denied(paths: list[str]) -> list[str]:
    """Which of the files a user without privileges can't open."""
    return as_nobody(lambda: "\n".join(p for p in paths if not may_open(p))).splitlines()


def may_open(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True
