# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions of this host as sysfs tells of them; no VFIO device is opened for it."""

from __future__ import annotations

from .address import full_address, is_address
from .assignability import Answer, Verdict, assignability
from .binding import Change, bind, unbind
from .functions import HostFunction, Resource, functions
from .groups import IommuGroup, Member, ReservedRegion, groups
from .holders import Holder, held_by, holders, who_is_busy
from .pci_ids import PciIds
from .report import HEADINGS, Report, reports
from .usage import HostUsage

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
    "reports",
    "unbind",
    "who_is_busy",
]
