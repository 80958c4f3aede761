# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO devices behind one interface; a library of its own, which needs only the ABI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..uapi.lazy import attributes
from .buffer import DmaBuffer
from .capability_chain import InfoCapability
from .device import Device, DeviceInfo, Fds, IoEventFd, IrqData, IrqInfo, RegionInfo, RegionWrite
from .dma import DmaSpace
from .errors import (
    BadAccess,
    CannotListen,
    DeviceError,
    DeviceGone,
    DeviceSilent,
    DmaFault,
    HostDeviceUnavailable,
    InterruptTimeout,
    ProtocolError,
    TooFewVectors,
    VfioError,
)
from .eventfd import EventFd
from .intervals import Interval
from .mapping import Mapping

if TYPE_CHECKING:
    from .dma_logging import DmaLogging
    from .features import Access, Feature, Features
    from .migration import Migration, MigrationData, PrecopyInfo
    from .migration_states import MigrationState
    from .pci import Field, Flag, Interrupt, PciDevice, Register, RegisterMap, open

__all__ = [
    "Access",
    "BadAccess",
    "CannotListen",
    "Device",
    "DeviceError",
    "DeviceGone",
    "DeviceInfo",
    "DeviceSilent",
    "DmaBuffer",
    "DmaFault",
    "DmaLogging",
    "DmaSpace",
    "EventFd",
    "Fds",
    "Feature",
    "Features",
    "Field",
    "Flag",
    "HostDeviceUnavailable",
    "InfoCapability",
    "Interrupt",
    "InterruptTimeout",
    "Interval",
    "IoEventFd",
    "IrqData",
    "IrqInfo",
    "Mapping",
    "Migration",
    "MigrationData",
    "MigrationState",
    "PciDevice",
    "PrecopyInfo",
    "ProtocolError",
    "RegionInfo",
    "RegionWrite",
    "Register",
    "RegisterMap",
    "TooFewVectors",
    "VfioError",
    "open",
]

# The VMM has no use for a driver's view of a device, nor for what few devices can.
__getattr__ = attributes(
    __name__,
    {
        **dict.fromkeys(
            ("Field", "Flag", "Interrupt", "PciDevice", "Register", "RegisterMap", "open"), "pci"
        ),
        **dict.fromkeys(("Access", "Feature", "Features"), "features"),
        **dict.fromkeys(("Migration", "MigrationData", "PrecopyInfo"), "migration"),
        "MigrationState": "migration_states",
        "DmaLogging": "dma_logging",
    },
)
