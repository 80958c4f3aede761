# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Walking the capability chains of any configuration space, whoever it belongs to.

The space is seen through a function `read(offset, size) -> int`, so the same walk serves a
device behind VFIO, an emulated function and a dump in a file. A chain is the device's word:
one that loops, points into the header or ends nowhere is followed as far as it makes sense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..uapi.pci_regs import (
    PCI_CAPABILITY_LIST,
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_CFG_SPACE_SIZE,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_STD_HEADER_SIZEOF,
)

ConfigRead = Callable[[int, int], int]
"""`read(offset, size)`: `size` bytes (1, 2 or 4) at `offset`, little-endian."""


class CapabilityHeader(NamedTuple):
    """Where one capability is. `version` is 0 for a conventional one, which has it (if at all)
    in its own registers.
    """

    id: int
    offset: int
    version: int = 0


def capabilities(read: ConfigRead) -> list[CapabilityHeader]:
    """The conventional capabilities, in chain order."""
    found: list[CapabilityHeader] = []
    status = read(PCI_STATUS, 2)
    # All-ones is a device that has gone, not one with every feature.
    if status == 0xFFFF or not status & PCI_STATUS_CAP_LIST:
        return found
    seen: set[int] = set()
    offset = read(PCI_CAPABILITY_LIST, 1) & 0xFC
    while PCI_STD_HEADER_SIZEOF <= offset < PCI_CFG_SPACE_SIZE and offset not in seen:
        seen.add(offset)
        header = read(offset, 2)
        if header & 0xFF == 0xFF:
            break
        found.append(CapabilityHeader(header & 0xFF, offset))
        offset = header >> 8 & 0xFC
    return found


def extended_capabilities(
    read: ConfigRead, size: int = PCI_CFG_SPACE_EXP_SIZE
) -> list[CapabilityHeader]:
    """The extended capabilities, in chain order; none if the space has only 256 bytes."""
    found: list[CapabilityHeader] = []
    seen: set[int] = set()
    offset = PCI_CFG_SPACE_SIZE
    while PCI_CFG_SPACE_SIZE <= offset <= size - 4 and offset not in seen:
        seen.add(offset)
        header = read(offset, 4) & 0xFFFFFFFF
        if header in (0, 0xFFFFFFFF):
            break
        # Id 0 is the null capability: a place holder that may start a chain.
        if header & 0xFFFF:
            found.append(CapabilityHeader(header & 0xFFFF, offset, header >> 16 & 0xF))
        offset = header >> 20 & 0xFFC
    return found
