# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions of this host as sysfs tells of them, and binding them to VFIO's driver.

No VFIO device is opened for it. What the host needs them for itself pyvmm.doctor knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...uapi.lazy import attributes
from .address import full_address, is_address
from .functions import HostFunction, Resource, functions
from .groups import IommuGroup, Member, ReservedRegion, groups, no_group
from .holders import Holder, held_by, holders, other_holders, who_is_busy
from .iommu import iommus, no_iommu, no_iommu_mode

if TYPE_CHECKING:
    from .binding import Change, bind, unbind
    from .pci_ids import PciIds

__all__ = [
    "Change",
    "Holder",
    "HostFunction",
    "IommuGroup",
    "Member",
    "PciIds",
    "ReservedRegion",
    "Resource",
    "bind",
    "full_address",
    "functions",
    "groups",
    "held_by",
    "holders",
    "iommus",
    "is_address",
    "no_group",
    "no_iommu",
    "no_iommu_mode",
    "other_holders",
    "unbind",
    "who_is_busy",
]

# Opening a device takes functions, groups and holders; binding and naming take much more.
_HOMES = {
    **dict.fromkeys(("Change", "bind", "unbind"), "binding"),
    **dict.fromkeys(("PciIds",), "pci_ids"),
}

__getattr__ = attributes(__name__, _HOMES)
