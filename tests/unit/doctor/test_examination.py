# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Each check of the doctor's, on hosts that have what it looks for, and on others."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from pyvmm._finding import Finding
from pyvmm.doctor import examine, interrupts, iommu, kvm, locked_memory, vfio_pci, writable_sysfs
from pyvmm.kvm.host_cpu import runs_guests
from pyvmm.vfio.kernel import locked_memory as kernel_limit
from tests.unit.vfio.host.made_host import MadeHost

NIC = "0000:01:00.0"
HOST_DEVICES = Path(__file__).resolve().parents[3] / "docs/host-devices.md"


def found(host: MadeHost, subject: str) -> Finding:
    return next(f for f in examine(root=host.root) if f.subject == subject)


def test_all_are_told_once_whatever_the_host_has(host: MadeHost) -> None:
    subjects = [finding.subject for finding in examine(root=host.root)]
    assert len(set(subjects)) == len(subjects) == 9


def test_of_this_host() -> None:
    assert all(finding.text for finding in examine())


class TestIommu:
    def test_in_use(self, host: MadeHost) -> None:
        host.function(NIC, group=14)
        host.file("sys/class/iommu/dmar0/uevent", "")
        assert iommu.check(str(host.root)) == Finding("IOMMU", True, "dmar0; 1 group of devices")

    def test_none(self, host: MadeHost) -> None:
        finding = iommu.check(str(host.root))
        assert (finding.ok, finding.needed) == (False, True)
        assert finding.cure.startswith("enable VT-d or AMD-Vi in the firmware's set-up, and boot")

    @pytest.mark.parametrize(
        ("table", "line", "cure"),
        [
            ("DMAR", "quiet", "boot with intel_iommu=on; or try"),
            ("DMAR", "quiet intel_iommu=off", "boot without intel_iommu=off"),
            ("IVRS", "iommu=off", "boot without iommu=off"),
            ("IVRS", "", "the kernel's log tells why; or try"),
        ],
    )
    def test_one_that_the_kernel_does_not_use(
        self, host: MadeHost, table: str, line: str, cure: str
    ) -> None:
        host.file(f"sys/firmware/acpi/tables/{table}", "")
        host.file("proc/cmdline", f"{line}\n")
        finding = iommu.check(str(host.root))
        assert finding.text == "no IOMMU is in use, although the firmware tells of one"
        assert finding.cure.startswith(cure)

    def test_what_vfio_makes_up_is_none(self, host: MadeHost) -> None:
        host.function(NIC, driver="vfio-pci", group=0)
        host.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n")
        host.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
        finding = iommu.check(str(host.root))
        assert not finding.ok
        assert "no-IOMMU mode is on: for drivers in user space" in finding.text


class TestInterrupts:
    @pytest.fixture(autouse=True)
    def with_iommu(self, host: MadeHost) -> None:
        host.file("sys/class/iommu/dmar0/uevent", "")
        host.file("proc/interrupts", " 24:  0  PCI-MSIX-0000:00:10.0  0-edge  aerdrv\n")

    def test_remapped(self, host: MadeHost) -> None:
        host.file("proc/interrupts", " 24:  0  IR-PCI-MSIX-0000:00:10.0  0-edge  aerdrv\n")
        assert interrupts.check(str(host.root)) == Finding("interrupts", True, "remapped")

    def test_not_remapped(self, host: MadeHost) -> None:
        finding = interrupts.check(str(host.root))
        assert (finding.ok, finding.needed) == (False, True)
        assert "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts" in finding.cure

    def test_not_remapped_and_accepted(self, host: MadeHost) -> None:
        host.file("sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y\n")
        finding = interrupts.check(str(host.root))
        assert (finding.ok, finding.needed) == (False, False)
        assert finding.text.endswith("which iommufd accepts")

    def test_accepted_where_it_does_not_matter(self, host: MadeHost) -> None:
        """A guest is given a device by iommufd, which has to accept it, too."""
        host.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n")
        host.file("sys/module/iommufd/parameters/allow_unsafe_interrupts", "N\n")
        finding = interrupts.check(str(host.root))
        assert (finding.ok, finding.needed) == (False, True)
        assert "/sys/module/iommufd/parameters/allow_unsafe_interrupts" in finding.cure

    @pytest.mark.parametrize("hidden", [True, False])
    def test_what_is_not_known(self, host: MadeHost, hidden: bool) -> None:
        """A container may have no such file, or an empty one in its place."""
        host.file("proc/interrupts", "")
        if hidden:
            (host.root / "proc/interrupts").unlink()
        finding = interrupts.check(str(host.root))
        assert (finding.ok, finding.needed) == (False, False)
        assert finding.text == "not known: /proc/interrupts is hidden here, as in a container"

    def test_the_devices_agree(self, host: MadeHost) -> None:
        host.function(NIC, driver="vfio-pci", group=14)
        assert found(host, "devices").text.startswith("0 can be assigned now, 0 after")
        host.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n")
        assert found(host, "devices").text.startswith("1 can be assigned now, 0 after")

    def test_nobody_is_there_to_remap_them(self, host: MadeHost) -> None:
        (host.root / "sys/class/iommu/dmar0").rename(host.root / "gone")
        assert not interrupts.check(str(host.root)).needed


class TestVfioPci:
    def test_loaded(self, host: MadeHost) -> None:
        assert vfio_pci.check(str(host.root)) == Finding("vfio-pci", True, "loaded")

    @pytest.mark.parametrize(
        ("index", "line"),
        [
            ("modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/x.ko"),
            ("modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko"),
        ],
    )
    def test_to_be_loaded(self, host: MadeHost, index: str, line: str) -> None:
        (host.root / "sys/bus/pci/drivers/vfio-pci").rename(host.root / "unloaded")
        path = f"lib/modules/{os.uname().release}/{index}"
        host.file(path, "kernel/drivers/vfio/pci/vfio-pci-core.ko: a.ko\n")
        assert not vfio_pci.check(str(host.root)).ok
        host.file(path, f"kernel/fs/a.ko:\n{line}\n")
        assert vfio_pci.check(str(host.root)).text == "not loaded; `pyvmm bind` does it"


class TestLockedMemory:
    def test_no_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
        assert locked_memory.check("/").ok

    def test_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, 8 << 20))
        monkeypatch.setattr(kernel_limit, "_status", lambda *_: 0)
        finding = locked_memory.check("/")
        assert (finding.ok, finding.needed) == (False, False)
        assert finding.text.startswith("8192 KiB at most")
        assert finding.cure == (
            "raise it: `ulimit -l`, LimitMEMLOCK= in a systemd unit, or memlock in "
            "/etc/security/limits.conf"
        )
        assert str(finding) in HOST_DEVICES.read_text(), "the page has it as an example"
        monkeypatch.setattr(kernel_limit, "_status", lambda *_: 1 << 14)
        assert locked_memory.check("/").ok


class TestSysfs:
    def test_writable(self, host: MadeHost) -> None:
        assert writable_sysfs.check(str(host.root)).ok

    def test_read_only(self, host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        flags = (*os.statvfs("/")[:8], os.ST_RDONLY, 255)
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(flags))
        assert writable_sysfs.check(str(host.root)).text.startswith("read-only here")

    def test_a_host_without_pci(self, host: MadeHost) -> None:
        (host.root / "sys/bus/pci").rename(host.root / "gone")
        assert writable_sysfs.check(str(host.root)).needed


def test_no_kvm(host: MadeHost) -> None:
    finding = kvm.check(str(host.root))
    assert (finding.ok, finding.needed) == (False, False)
    assert "ENOENT" in finding.text


@pytest.mark.parametrize(
    ("cpuinfo", "runs"),
    [
        ("processor\t: 0\nflags\t\t: fpu vmx sse\n", True),
        ("processor\t: 0\nflags\t\t: fpu svm sse\n", True),
        ("processor\t: 0\nflags\t\t: fpu svm_lock sse\nbugs\t: svm\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", True),
        (None, True),
    ],
)
def test_what_the_processor_has_for_guests(host: MadeHost, cpuinfo: str | None, runs: bool) -> None:
    if cpuinfo is not None:
        host.file("proc/cpuinfo", cpuinfo)
    assert runs_guests(str(host.root)) == runs


@pytest.mark.kvm
@pytest.mark.parametrize("runs", [True, False])
def test_a_kvm_that_emulates(monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    monkeypatch.setattr(kvm, "runs_guests", lambda _: runs)
    finding = kvm.check("/")
    assert finding.ok
    assert ("pyvmm run --lab" in finding.cure) != runs


def test_no_dma_without_vfio(host: MadeHost) -> None:
    (host.root / "sys/bus/pci/drivers/vfio-pci").rename(host.root / "gone")
    assert found(host, "DMA").text == "none without VFIO: see vfio-pci"


def test_devices_that_no_guest_can_have(host: MadeHost) -> None:
    """By VFIO's no-IOMMU mode they can be used, and the IOMMU is missing all the same."""
    host.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
    host.function(NIC, driver="vfio-pci", group=0)
    host.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n")
    host.file("dev/vfio/noiommu-0", "")
    host.function("0000:02:00.0", driver="nvme")
    host.function("0000:00:00.0", class_code=0x060000)
    finding = found(host, "devices")
    assert not finding.ok
    assert finding.text == (
        "0 can be assigned now, 0 after something is done, 3 not (2 of them serve drivers in user "
        "space)"
    )


def test_devices_and_the_way_to_their_dma(host: MadeHost) -> None:
    assert found(host, "devices").text.startswith("0 can be assigned now, 0 after")
    assert not found(host, "devices").ok
    host.function(NIC, driver="vfio-pci", group=14)
    host.function("0000:02:00.0", driver="nvme", group=15)
    assert found(host, "devices").text.startswith("1 can be assigned now, 1 after")
    assert found(host, "devices").ok
    assert "user space" not in found(host, "devices").text
    # /dev/vfio/vfio is no container here.
    dma, iommufd = found(host, "DMA"), found(host, "iommufd")
    assert (dma.ok, dma.needed) == (False, True)
    assert "dev/vfio/vfio" in dma.text
    assert (iommufd.ok, iommufd.needed) == (False, False)
    assert "CONFIG_VFIO_DEVICE_CDEV" in iommufd.text
