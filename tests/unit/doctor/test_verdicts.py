# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Why a function can or can't be assigned, and what to do about it."""

from __future__ import annotations

import os

import pytest

from pyvmm.doctor import (
    Answer,
    HostUsage,
    Verdict,
    assignability,
    remedies,
    reports,
    why_not_openable,
)
from pyvmm.vfio.host import HostFunction
from tests.unit.vfio.host.made_host import MadeHost

NIC, NEIGHBOUR = "0000:01:00.0", "0000:01:00.1"


def verdict(host: MadeHost, bdf: str = NIC) -> Verdict:
    usage = HostUsage(root=host.root, environ={})
    return assignability(HostFunction(bdf, root=host.root), usage)


def test_one_that_is_ready(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=14)
    assert verdict(host) == Verdict(Answer.NOW)


def test_one_that_another_driver_has(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e", group=14)
    assert verdict(host) == Verdict(Answer.LATER, "bound to e1000e", (f"pyvmm bind {NIC}",))


def test_one_that_no_driver_has(host: MadeHost) -> None:
    host.function(NIC, group=14)
    assert verdict(host) == Verdict(Answer.LATER, "bound to no driver", (f"pyvmm bind {NIC}",))


def test_bridges_and_the_chipset(host: MadeHost) -> None:
    host.function("0000:00:00.0", class_code=0x060000, group=1)
    host.function("0000:00:01.0", class_code=0x060400, header=1, driver="pcieport", group=2)
    assert verdict(host, "0000:00:00.0").reason == "it is part of the host's chipset"
    bridge = verdict(host, "0000:00:01.0")
    assert (bridge.answer, bridge.cure) == (Answer.NO, "")
    assert bridge.reason.startswith("it is a bridge")


@pytest.mark.parametrize("driver", [None, "vfio-pci"])
def test_a_guest_is_told_the_same_of_the_chipset(host: MadeHost, driver: str | None) -> None:
    host.function("0000:00:00.0", class_code=0x060000, driver=driver, group=1)
    assert str(why_not_openable(HostFunction("0000:00:00.0", root=host.root))) == (
        "0000:00:00.0 can't be assigned: it is part of the host's chipset; choose a device; "
        "`pyvmm devices` lists them"
    )


def test_no_iommu(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e")
    assert verdict(host) == Verdict(
        Answer.NO,
        "no IOMMU is in use",
        (
            "enable VT-d or AMD-Vi in the firmware's set-up, and boot with intel_iommu=on on "
            "Intel; or try `pyvmm lab run --device nvme ...`, which has one",
        ),
    )
    host.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
    allowed = verdict(host)
    assert (allowed.answer, allowed.cure) == (Answer.LATER, f"pyvmm bind {NIC}")
    assert "never for a guest" in allowed.reason
    assert not allowed.for_guests


def test_a_device_that_vfio_has_without_an_iommu(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=0)
    host.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n")
    host.file("dev/vfio/noiommu-0", "")
    found = verdict(host)
    assert (found.answer, found.for_guests) == (Answer.NOW, False)
    assert found.notes == ("there is no IOMMU: it is for drivers in user space, never for a guest",)


def test_one_that_the_host_needs_and_no_iommu(host: MadeHost) -> None:
    """All that is in the way is told."""
    path = host.function(NIC, driver="e1000e")
    host.interface("eth0", path)
    host.routes(("eth0", "0.0.0.0/0", 0))
    found = verdict(host)
    assert found.answer is Answer.NO
    assert found.reason == "it carries the only network route (eth0), and no IOMMU is in use"
    assert found.cures[0] == "move what the host needs elsewhere first"
    assert found.cures[1].startswith("enable VT-d")
    assert found.cure == "; ".join(found.cures)


def test_what_many_lack_is_told_once(host: MadeHost) -> None:
    path = host.function(NIC, driver="e1000e")
    host.function(NEIGHBOUR, driver="e1000e")
    host.interface("eth0", path)
    host.routes(("eth0", "0.0.0.0/0", 0))
    devices = [HostFunction(bdf, root=host.root) for bdf in (NEIGHBOUR, NIC)]
    found = reports(devices, root=host.root)
    assert found[0].verdict.reason == "no IOMMU is in use"
    assert found[1].verdict.reason.endswith(", and no IOMMU is in use")
    enable, move = remedies(found)
    assert enable.endswith("or try `pyvmm lab run --device nvme ...`, which has one")
    assert move == "move what the host needs elsewhere first"


def test_a_neighbour_that_the_host_needs(host: MadeHost) -> None:
    host.function(NEIGHBOUR, driver="vfio-pci", group=14)
    path = host.function(NIC, driver="e1000e", group=14)
    host.interface("eth0", path)
    host.routes(("eth0", "0.0.0.0/0", 0))
    assert verdict(host, NEIGHBOUR) == Verdict(
        Answer.NO,
        f"it shares IOMMU group 14: {NIC} carries the only network route (eth0)",
        ("put the device into another slot, or move what the host needs elsewhere",),
    )


def test_a_neighbour_that_another_driver_has(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e", group=14)
    host.function(NEIGHBOUR, driver="snd_hda_intel", group=14)
    assert verdict(host) == Verdict(
        Answer.LATER,
        f"bound to e1000e; shares IOMMU group 14 with {NEIGHBOUR} (snd_hda_intel)",
        (f"pyvmm bind --group {NIC}",),
    )
    host._bind(NIC, "vfio-pci")
    assert verdict(host) == Verdict(
        Answer.LATER,
        f"group 14 is not viable: {NEIGHBOUR} is bound to snd_hda_intel",
        (f"pyvmm bind --group {NIC}",),
    )


def test_interrupts_that_are_not_remapped(host: MadeHost) -> None:
    """VFIO hands out no device then, whatever has it at the moment."""
    host.file("sys/class/iommu/dmar0/uevent", "")
    host.function(NIC, driver="vfio-pci", group=14)
    host.function(NEIGHBOUR, driver="e1000e", group=15)
    host.file("proc/interrupts", "   CPU0\n 24:  0  PCI-MSIX-0000:00:10.0  0-edge  aerdrv\n")
    for bdf in (NIC, NEIGHBOUR):
        found = verdict(host, bdf)
        assert found.answer is Answer.NO
        assert found.reason == "interrupts are not remapped, so that a device could forge any"
        assert found.cure.startswith("enable the remapping of interrupts in the firmware's set-up")
    host.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n")
    assert verdict(host) == Verdict(Answer.NOW)
    host.file("sys/module/iommufd/parameters/allow_unsafe_interrupts", "N\n")
    assert "/sys/module/iommufd/" in verdict(host).cure
    host.file("proc/interrupts", "   CPU0\n 24:  0  IR-PCI-MSIX-0000:00:10.0  0-edge  aerdrv\n")
    assert verdict(host) == Verdict(Answer.NOW)
    # A container hides it.
    host.file("proc/interrupts", "")
    assert verdict(host) == Verdict(Answer.NOW)


def test_memory_of_the_firmware(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e", group=14)
    regions = "sys/kernel/iommu_groups/14/reserved_regions"
    host.file(regions, "0x00000000000e0000 0x00000000000fffff direct-relaxable\n")
    assert verdict(host).answer is Answer.LATER
    host.file(regions, "0x00000000000e0000 0x00000000000fffff direct\n")
    assert verdict(host).answer is Answer.NO
    assert "RMRR, at IOVA [0xe0000, 0x100000)" in verdict(host).reason


def test_virtual_functions(host: MadeHost) -> None:
    host.function(NIC, driver="igb", group=14)
    host.virtual_function(NIC, 0, "0000:01:10.0", driver="vfio-pci", group=15)
    found = verdict(host)
    assert (found.answer, found.reason[:29]) == (Answer.LATER, "it has virtual functions (1),")
    assert f"echo 0 > /sys/bus/pci/devices/{NIC}/sriov_numvfs" in found.cure
    assert verdict(host, "0000:01:10.0") == Verdict(Answer.NOW)
    host._bind(NIC, "vfio-pci")
    assert verdict(host, "0000:01:10.0").notes == (
        f"its physical function {NIC} is VFIO's: opening it takes a VF token",
    )


def test_no_reset_is_worth_knowing(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=14, reset=None)
    found = verdict(host)
    assert found.answer is Answer.NOW
    assert found.notes == (
        "it has no reset of its own: what one user leaves in it the next one finds",
    )


def test_one_in_use(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=14)
    host.process(42, "qemu-system-x86", "/dev/vfio/14")
    found = verdict(host)
    assert (found.answer, found.cure) == (Answer.LATER, "end that first")
    assert "qemu-system-x86 (process 42 of " in found.reason


def test_files_that_are_not_there_or_not_ours(
    host: MadeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.function(NIC, driver="vfio-pci", group=14)
    group, cdev = host.root / "dev/vfio/14", host.root / "dev/vfio/devices/vfio0"
    group.unlink()
    assert verdict(host).reason == f"there is no {group}"
    group.touch()

    def access(asked: str, _mode: int) -> bool:
        return asked not in closed

    monkeypatch.setattr(os, "access", access)
    closed = [str(group)]
    assert verdict(host) == Verdict(
        Answer.LATER, f"you may not open {group}", (f"sudo pyvmm bind --user $USER {NIC}",)
    )
    # The device cdev is another way, which needs /dev/iommu.
    host.file(f"{path}/vfio-dev/vfio0/dev", "511:0")
    cdev.parent.mkdir()
    cdev.touch()
    assert verdict(host).answer is Answer.LATER
    (host.root / "dev/iommu").touch()
    assert verdict(host) == Verdict(Answer.NOW)
    closed.append(str(host.root / "dev/iommu"))
    assert verdict(host).answer is Answer.LATER
