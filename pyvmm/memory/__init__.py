# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guest RAM and the guest-physical address map, with observers."""

from __future__ import annotations

from .address_map import AddressMap
from .backing import BACKINGS, PRIVATE, SHARED, THP, Backing, thp_enabled
from .errors import BadGuestAddress, GuestMemoryError, OutOfHostMemory, Overlap
from .guest_memory import GuestMemory
from .region import DEVICE, RAM, ROM, MemoryRegion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .address_map import Access, IoHandler
    from .guest_memory import MemoryObserver

__all__ = [
    "BACKINGS",
    "DEVICE",
    "PRIVATE",
    "RAM",
    "ROM",
    "SHARED",
    "THP",
    "Access",
    "AddressMap",
    "Backing",
    "BadGuestAddress",
    "GuestMemory",
    "GuestMemoryError",
    "IoHandler",
    "MemoryObserver",
    "MemoryRegion",
    "OutOfHostMemory",
    "Overlap",
    "thp_enabled",
]
