# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What no guest gets, or not like that: told with cause and cure, and the host is as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.boot import DoesNotFit, MalformedImage
from pyvmm.machine.host_devices import HostDevices
from pyvmm.memory import RAM, MemoryRegion
from pyvmm.uapi.pci_regs import PCI_CAP_ID_MSI, PCI_MSI_FLAGS
from pyvmm.vfio import HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.pci_capabilities import capabilities
from tests.bzimages import CODE_AT, bzimage
from tests.conftest import ROOT
from tests.lab.conftest import MakeVm
from tests.lab.drivers import given_to
from tests.lab.privileges import no_right_to_lock
from tests.lab.profiles import BY_NAME
from tests.lab.written import written

GetDevice = Callable[[str], str]

WITH_GUESTS = pytest.mark.backends("type1v2", "iommufd")

GIB = 1 << 30


class Touched:
    """Whether devices are as they were: with another's registers, and what VFIO makes of them."""

    def __init__(self, *bdfs: str) -> None:
        self._bdfs = bdfs
        self._before = self._state()

    def _state(self) -> list[object]:
        return [
            (HostFunction(bdf).driver, Path(f"/sys/bus/pci/devices/{bdf}/config").read_bytes()[:64])
            for bdf in self._bdfs
        ]

    def __bool__(self) -> bool:
        return self._state() != self._before


def refusal(
    make_vm: MakeVm,
    *devices: str,
    error: type[Exception] = HostDeviceUnavailable,
    **keys: object,
) -> str:
    """What is said of a VM that can't be built."""
    vm = make_vm("hello", *devices, **keys)
    with pytest.raises(error) as caught:
        vm.machine.build()
    assert vm.notices == []
    return str(caught.value)


@WITH_GUESTS
def test_one_that_is_not_there(backend: str, make_vm: MakeVm, lab_device: GetDevice) -> None:
    edu = lab_device("edu")
    touched = Touched(edu)
    assert refusal(make_vm, edu, "0000:7f:00.0") == (
        "there is no PCI device 0000:7f:00.0 on this host; `pyvmm devices` lists those that "
        "there are"
    )
    assert not touched


@WITH_GUESTS
def test_a_kernel_that_is_cut_off(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, tmp_path: Path
) -> None:
    """Its device has not even been opened."""
    edu = lab_device("edu")
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(bzimage()[: CODE_AT + 0x200])
    touched = Touched(edu)
    said = refusal(make_vm, edu, kernel=str(kernel), error=MalformedImage)
    assert said.startswith(f"{kernel} is malformed or cut off: ")
    assert said.endswith("; build or copy it again")
    assert not touched


@WITH_GUESTS
def test_an_initrd_that_does_not_fit(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, tmp_path: Path
) -> None:
    edu = lab_device("edu")
    initrd = tmp_path / "initrd"
    initrd.touch()
    os.truncate(initrd, 64 << 20)
    touched = Touched(edu)
    said = refusal(make_vm, edu, initrd=str(initrd), memory="64M", error=DoesNotFit)
    assert said.startswith(f"initrd {initrd} of 64 MiB does not fit guest RAM ")
    assert said.endswith("; give the guest more memory, or make the initrd smaller")
    assert not touched


@WITH_GUESTS
def test_one_that_its_driver_has(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, neighbours: dict[str, str]
) -> None:
    edu, nvme = lab_device("edu"), neighbours["nvme"]
    with given_to(nvme, "nvme"):
        touched = Touched(edu, nvme)
        assert refusal(make_vm, edu, nvme) == (
            f"{nvme} can't be assigned yet: bound to nvme; pyvmm bind {nvme}"
        )
        assert not touched


@WITH_GUESTS
def test_one_whose_neighbour_a_driver_has(
    backend: str, make_vm: MakeVm, neighbours: dict[str, str]
) -> None:
    edu, nvme = neighbours["edu"], neighbours["nvme"]
    with given_to(nvme, "nvme"):
        touched = Touched(edu, nvme)
        assert re.fullmatch(
            rf"{edu} can't be assigned yet: group \d+ is not viable: {nvme} is bound to nvme; "
            rf"pyvmm bind --group {edu}",
            refusal(make_vm, edu),
        )
        assert not touched


@contextmanager
def another_vm(bdf: str) -> Iterator[subprocess.Popen[str]]:
    """A VM of another process, which has the device and waits."""
    command = [sys.executable, "-m", "pyvmm", "run", str(ROOT / "configs" / "edu-host.yaml")]
    settings = {
        "devices[0].host": bdf,
        "kernel": ROOT / "guests" / "build" / "hello.elf",
        "cmdline": "echo",
    }
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("echo: ") for line in process.stdout)
            yield process
        finally:
            process.kill()


@pytest.mark.proof
@pytest.mark.every_kernel
def test_one_whose_group_another_vm_has(
    profile: str, make_vm: MakeVm, lab_devices: Callable[[str], list[str]]
) -> None:
    """Told whose it is; and when that VM is killed it can be had at once."""
    if BY_NAME[profile].iommu == "none":
        pytest.skip("no guest has a device without an IOMMU")
    group = {bdf: HostFunction(bdf).group for kind in ("edu", "nvme") for bdf in lab_devices(kind)}
    edu, nvme = (bdf for bdf, number in group.items() if list(group.values()).count(number) > 1)
    with another_vm(edu) as other:
        for bdf in (edu, nvme):
            said = refusal(make_vm, bdf)
            assert f"(process {other.pid} of root)" in said
            assert "/dev/vfio/" in said
        other.kill()
        make_vm("lspci", nvme).run()


@WITH_GUESTS
def test_a_limit_on_locked_memory(backend: str, make_vm: MakeVm, lab_device: GetDevice) -> None:
    """It is told before anything is mapped, and what it tells of is enough."""
    edu = lab_device("edu")
    touched = Touched(edu)
    with no_right_to_lock(8 << 20):
        said = refusal(make_vm, edu, memory="16M")
    assert not touched
    assert said.startswith(
        f"DMA of {edu} to the guest's memory takes 16384 KiB of locked memory, and RLIMIT_MEMLOCK "
        "is 8192 KiB"
    )
    (kib,) = re.findall(r"`ulimit -l (\d+)`", said)
    with no_right_to_lock((int(kib) << 10) - 1):
        assert said.partition("KiB at least")[2] in refusal(make_vm, edu, memory="16M")
    with no_right_to_lock(int(kib) << 10):
        make_vm("lspci", edu, memory="16M").run()


def region(start: int, end: int) -> MemoryRegion:
    return MemoryRegion(start, end - start, host=0, kind=RAM, name="high RAM")


@WITH_GUESTS
def test_memory_that_devices_can_not_reach(
    backend: str, lab_device: GetDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than this host has: it needn't be there."""
    monkeypatch.setattr("pyvmm.machine.host_devices.best_backend", lambda *_: backend)
    edu = lab_device("edu")
    with HostDevices() as host:
        with pytest.raises(HostDeviceUnavailable) as caught:
            host.open([edu], [region(4 * GIB, 1 << 50)])
        assert str(caught.value).startswith(
            f"{edu} can't reach all of the guest's high RAM, which is at [0x100000000, "
            "0x4000000000000): its IOMMU reaches [0x0, 0xfee00000) and [0xfef00000, 0x"
        )
        assert re.search(r"give the guest less memory: \d+M at most$", str(caught.value))
    touched = Touched(edu)
    with HostDevices() as host:
        with pytest.raises(HostDeviceUnavailable) as caught:
            host.open([edu], [region(0xFEC00000, 0xFF000000)])
        assert re.search(
            r"\[0xfee00000, 0xfef00000\) is the MSI window of group \d+; give", str(caught.value)
        )
    assert not touched


@WITH_GUESTS
def test_memory_where_a_region_is_reserved(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, tmp_path: Path
) -> None:
    """As some hosts have them, in the midst of what others use."""
    edu = lab_device("edu")
    group = HostFunction(edu).group
    told = Path(f"/sys/kernel/iommu_groups/{group}/reserved_regions")
    start, end = 0x80_0000, 0x8F_FFFF
    also = tmp_path / "reserved_regions"
    also.write_text(f"0x{start:016x} 0x{end:016x} reserved\n{told.read_text()}")
    touched = Touched(edu)
    with bind_mounted(also, told):
        said = refusal(make_vm, edu, memory="64M")
    assert said.startswith(f"{edu} can't reach all of the guest's ")
    assert said.endswith(
        f": [{start:#x}, {end + 1:#x}) is reserved of group {group}; give the guest less memory: "
        "8M at most"
    )
    assert not touched
    make_vm("lspci", edu, memory="64M").run()


@contextmanager
def bind_mounted(source: Path, target: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.mark.profiles("noiommu")
@pytest.mark.smoke
def test_one_without_an_iommu(profile: str, make_vm: MakeVm, lab_device: GetDevice) -> None:
    edu = lab_device("edu")
    touched = Touched(edu)
    said = refusal(make_vm, edu)
    assert f"{edu} has no IOMMU, so a guest that had it could write to all of the host's" in said
    assert "intel_iommu=on" in said
    assert not touched


# Interrupts that are not remapped.

SWITCHES = {
    "type1v2": Path("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"),
    "iommufd": Path("/sys/module/iommufd/parameters/allow_unsafe_interrupts"),
}
SWITCHES["iommufd-compat"] = SWITCHES["iommufd"]

UNSAFE = pytest.mark.profiles("unsafe")


@UNSAFE
def test_a_host_that_remaps_no_interrupts(
    profile: str, backend: str, make_vm: MakeVm, lab_device: GetDevice
) -> None:
    edu = lab_device("edu")
    said = refusal(make_vm, edu)
    assert "EPERM (Operation not permitted); interrupts of this host are not remapped" in said
    assert said.endswith(f"`echo 1 | sudo tee {SWITCHES[backend]}`")
    with written(SWITCHES[backend], "Y"):
        make_vm("edu", edu).run()


@UNSAFE
@pytest.mark.backends("iommufd")
def test_such_a_host_has_one_message_of_msi(
    profile: str, backend: str, make_vm: MakeVm, lab_device: GetDevice
) -> None:
    """The guest has enabled 16, and makes do with it: it is told."""
    vm = make_vm("hello", lab_device("nec-usb-xhci"))
    with written(SWITCHES[backend], "Y"):
        vm.machine.build()
        (plugged,) = vm.machine.devices
        function = plugged.function
        (at,) = (c.offset for c in capabilities(function.config_read) if c.id == PCI_CAP_ID_MSI)
        control = function.config_read(at + PCI_MSI_FLAGS, 2)
        assert control >> 1 & 7 == 4, "2 to the 4th"
        function.config_write(at + 4, 4, 0xFEE00000)
        function.config_write(at + PCI_MSI_FLAGS, 2, control | 4 << 4 | 1)
        (notice,) = vm.notices
        assert "ENOSPC (No space left on device); the guest has 1 of 16 messages" in notice
        function.config_write(at + PCI_MSI_FLAGS, 2, control)
        vm.machine.close()
