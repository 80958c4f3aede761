# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""An IOMMU, without which a device's DMA reaches all memory, and no guest is given one."""

from __future__ import annotations

from pyvmm.vfio.host import groups, iommus, no_iommu, no_iommu_mode

from .._counted import counted
from .._finding import Finding


def check(root: str) -> Finding:
    """Whether one is in use: groups that VFIO has made up for devices without one don't count."""
    found = [group for group in groups(root=root) if not group.no_iommu]
    if found:
        names = ", ".join(iommus(root=root)) or "one"
        return Finding("IOMMU", True, f"{names}; {counted(len(found), 'group')} of devices")
    reason, cure = no_iommu(root)
    if no_iommu_mode(root):
        reason += "; VFIO's no-IOMMU mode is on: for drivers in user space, never for guests"
    return Finding("IOMMU", False, reason, cure)
