# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions of this host as sysfs tells of them; no VFIO device is opened for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import attributes
from .address import full_address, is_address
from .functions import HostFunction, Resource, functions
from .groups import IommuGroup, Member, ReservedRegion, groups, no_iommu
from .holders import Holder, held_by, holders, other_holders, who_is_busy

if TYPE_CHECKING:
    from .binding import Change, bind, unbind
    from .pci_ids import PciIds
    from .report import HEADINGS, Report, remedies, reports
    from .usage import HostUsage
    from .verdicts import Answer, Verdict, assignability, why_not_openable

__all__ = [
    "HEADINGS",
    "Answer",
    "Change",
    "Holder",
    "HostFunction",
    "HostUsage",
    "IommuGroup",
    "Member",
    "PciIds",
    "Report",
    "ReservedRegion",
    "Resource",
    "Verdict",
    "assignability",
    "bind",
    "full_address",
    "functions",
    "groups",
    "held_by",
    "holders",
    "is_address",
    "no_iommu",
    "other_holders",
    "remedies",
    "reports",
    "unbind",
    "who_is_busy",
    "why_not_openable",
]

# Opening a device takes functions, groups and holders; listing and binding take much more.
_HOMES = {
    **dict.fromkeys(("Change", "bind", "unbind"), "binding"),
    **dict.fromkeys(("PciIds",), "pci_ids"),
    **dict.fromkeys(("HEADINGS", "Report", "remedies", "reports"), "report"),
    **dict.fromkeys(("HostUsage",), "usage"),
    **dict.fromkeys(("Answer", "Verdict", "assignability", "why_not_openable"), "verdicts"),
}

__getattr__ = attributes(__name__, _HOMES)
