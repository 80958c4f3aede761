# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions of this host as sysfs tells of them; no VFIO device is opened for it."""

from __future__ import annotations

from .address import full_address, is_address
from .functions import HostFunction, Resource, functions
from .groups import IommuGroup, Member, ReservedRegion, groups
from .holders import Holder, held_by, holders

__all__ = [
    "Holder",
    "HostFunction",
    "IommuGroup",
    "Member",
    "ReservedRegion",
    "Resource",
    "full_address",
    "functions",
    "groups",
    "held_by",
    "holders",
    "is_address",
]
