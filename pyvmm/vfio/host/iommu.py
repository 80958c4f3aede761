# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whether this host uses an IOMMU; if not, why, and whether VFIO goes without one."""

from __future__ import annotations

import os

from . import sysfs

_OFF = ("iommu=off", "intel_iommu=off", "amd_iommu=off")
_LAB = "or try `pyvmm lab run --device nvme ...`, which has one"


def iommus(*, root: str | os.PathLike[str] = "/") -> list[str]:
    """The names of the IOMMUs whose drivers are at work, such as "dmar0"."""
    return sysfs.listing(os.path.join(os.fspath(root), "sys/class/iommu"))


def no_iommu(root: str | os.PathLike[str] = "/") -> tuple[str, str]:
    """Why no IOMMU is in use here, and what to do about it."""
    if iommus(root=root):
        return "no IOMMU is in use, although there is one", "boot without iommu=off"
    tables = sysfs.listing(os.path.join(os.fspath(root), "sys/firmware/acpi/tables"))
    line = (sysfs.read_text(os.path.join(os.fspath(root), "proc/cmdline")) or "").split()
    off = next((word for word in line if word in _OFF), None)
    if "DMAR" in tables or "IVRS" in tables:
        cure = "boot with intel_iommu=on" if "DMAR" in tables else "the kernel's log tells why"
        reason = "no IOMMU is in use, although the firmware tells of one"
        return reason, f"boot without {off}" if off else f"{cure}; {_LAB}"
    firmware = "enable VT-d or AMD-Vi in the firmware's set-up"
    return "no IOMMU is in use", f"{firmware}, and boot with intel_iommu=on on Intel; {_LAB}"


def no_iommu_mode(root: str | os.PathLike[str] = "/") -> bool:
    """Whether VFIO hands out devices without an IOMMU too."""
    parameter = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    return sysfs.read_text(os.path.join(os.fspath(root), parameter)) == "Y"
