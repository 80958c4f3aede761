# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteTable: the mask bits in the MSI-X table that a server has in one of its regions.

Source: PCI Local Bus 3.0, section 6.8.2.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from ...uapi.pci_regs import (
    PCI_CAP_ID_MSIX,
    PCI_CFG_SPACE_SIZE,
    PCI_MSIX_ENTRY_CTRL_MASKBIT,
    PCI_MSIX_ENTRY_SIZE,
    PCI_MSIX_ENTRY_VECTOR_CTRL,
    PCI_MSIX_TABLE,
    PCI_MSIX_TABLE_BIR,
)
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from ..device import Device, RegionWrite
from ..errors import DeviceError
from ..pci_capabilities import capabilities


class RemoteTable:
    """Finds the table by the device's configuration space, once."""

    def __init__(self, device: Device) -> None:
        """Raises VfioError; DeviceError (ENODEV) if no table is found that can be written."""
        self._device = device
        config = device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, 0, PCI_CFG_SPACE_SIZE)
        place = _table(config)
        if place is None or not device.region_info(place & PCI_MSIX_TABLE_BIR).writable:
            raise DeviceError.answered(f"{device.name}: writing its MSI-X table", errno.ENODEV)
        self._region = place & PCI_MSIX_TABLE_BIR
        self._start = place & ~PCI_MSIX_TABLE_BIR
        self._keeps = False

    def set_masked(self, vectors: Iterable[int], masked: bool) -> None:
        """Write the mask bits of some vectors. Raises VfioError; DeviceError (EIO) if the first
        one that is written doesn't read as it was.
        """
        control = (PCI_MSIX_ENTRY_CTRL_MASKBIT if masked else 0).to_bytes(4, "little")
        starts = [self._start + vector * PCI_MSIX_ENTRY_SIZE for vector in vectors]
        writes = [(self._region, at + PCI_MSIX_ENTRY_VECTOR_CTRL, control) for at in starts]
        if writes and not self._keeps:
            first, *writes = writes
            self._write_and_look(first, masked)
        self._device.region_write_multi(writes)

    def _write_and_look(self, write: RegionWrite, masked: bool) -> None:
        """Who refuses it unheard, as it was posted, or ignores it, is found out."""
        region, at, control = write
        self._device.region_write(region, at, control)
        (low, *_) = self._device.region_read(region, at, 4)
        if bool(low & PCI_MSIX_ENTRY_CTRL_MASKBIT) != masked:
            asked = f"{self._device.name}: writing its MSI-X table"
            raise DeviceError.answered(asked, errno.EIO, "it stays as it was")
        self._keeps = True


def _table(config: bytes) -> int | None:
    """The register that tells where the table is, if there is one: its region and its offset."""

    def read(offset: int, size: int) -> int:
        return int.from_bytes(config[offset : offset + size], "little")

    for id, offset, _ in capabilities(read):
        register = offset + PCI_MSIX_TABLE
        if id == PCI_CAP_ID_MSIX:
            return read(register, 4) if register + 4 <= PCI_CFG_SPACE_SIZE else None
    return None
