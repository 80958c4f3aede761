# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The capabilities of a vfio.Device: which the guest sees, and which of them are emulated.

One not named here is shown as it is and passed through.
"""

from __future__ import annotations

from typing import NamedTuple

from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CFG_SPACE_SIZE,
    PCI_MSI_FLAGS,
    PCI_MSIX_FLAGS,
    PCI_MSIX_PBA,
    PCI_MSIX_TABLE,
    PCI_STD_NUM_BARS,
)
from pyvmm.uapi.vfio import VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import Device, Interval
from pyvmm.vfio.pci.capabilities import capabilities

from .config_space import ConfigSpace
from .config_view import Row, chain_rows, msi_rows, msix_rows
from .errors import BadDevice
from .interfaces import InterruptVm
from .msi import Msi
from .msi import capability_size as msi_size
from .msix import CAPABILITY_SIZE as MSIX_SIZE
from .msix import Msix
from .vectors import HostVectors


class Declared(NamedTuple):
    """The emulated capabilities, and the rows of the table for all of them."""

    msi: Msi | None
    msix: Msix | None
    rows: tuple[Row, ...]


def declare_capabilities(
    device: Device, config: ConfigSpace, snapshot: ConfigSpace, vm: InterruptVm
) -> Declared:
    """Declare the device's capabilities in config; snapshot holds the device's own registers.

    MSI and MSI-X without a single vector that the device could signal are hidden. Raises
    BadDevice, VfioError.
    """
    msi: Msi | None = None
    msix: Msix | None = None
    rows: list[Row] = []
    hidden: set[int] = set()
    chain = capabilities(snapshot.read)
    for kind, at, _ in chain:
        if kind == PCI_CAP_ID_MSI and msi is None:
            host = HostVectors(device, VFIO_PCI_MSI_IRQ_INDEX, vm)
            if host.size:
                control = snapshot.u16(at + PCI_MSI_FLAGS)
                _check_whole(device, "MSI", at, msi_size(control))
                msi = Msi(config, at, control, host)
                rows += msi_rows(at, msi.end)
            else:
                hidden.add(at)
        elif kind == PCI_CAP_ID_MSIX and msix is None:
            host = HostVectors(device, VFIO_PCI_MSIX_IRQ_INDEX, vm)
            if host.size:
                _check_whole(device, "MSI-X", at, MSIX_SIZE)
                msix = _declare_msix(device, config, snapshot, at, host)
                rows += msix_rows(at)
            else:
                hidden.add(at)
    rows += chain_rows(config, chain, hidden)
    return Declared(msi, msix, tuple(rows))


def _check_whole(device: Device, what: str, at: int, size: int) -> None:
    if at + size > PCI_CFG_SPACE_SIZE:
        raise BadDevice(f"{device.name}: its {what} capability at {at:#x} is cut off")


def _declare_msix(
    device: Device, config: ConfigSpace, snapshot: ConfigSpace, at: int, host: HostVectors
) -> Msix:
    """Declare MSI-X, if its table and PBA are where they can be. Raises BadDevice, VfioError."""
    msix = Msix(
        config,
        at,
        snapshot.u16(at + PCI_MSIX_FLAGS),
        snapshot.u32(at + PCI_MSIX_TABLE),
        snapshot.u32(at + PCI_MSIX_PBA),
        host,
    )
    for what, region, area in (
        ("table", msix.table_region, msix.table_area),
        ("PBA", msix.pba_region, msix.pba_area),
    ):
        size = device.region_info(region).size if region < PCI_STD_NUM_BARS else 0
        if not Interval(0, size).covers(area):
            raise BadDevice(
                f"{device.name}: its MSI-X {what} should be at {area} of BAR {region}, which "
                f"has {size:#x} bytes"
            )
    return msix
