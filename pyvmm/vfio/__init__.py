# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO devices behind one interface; a library of its own, which needs only the ABI."""

from __future__ import annotations

from .device import Capability, Device, DeviceInfo, Fds, IoEventFd, IrqData, IrqInfo, RegionInfo
from .dma import DmaSpace, RemoteMemory
from .errors import (
    CannotListen,
    DeviceError,
    DeviceGone,
    DeviceSilent,
    DmaFault,
    ProtocolError,
    VfioError,
)
from .eventfd import EventFd
from .intervals import Interval
from .mapping import Mapping

__all__ = [
    "CannotListen",
    "Capability",
    "Device",
    "DeviceError",
    "DeviceGone",
    "DeviceInfo",
    "DeviceSilent",
    "DmaFault",
    "DmaSpace",
    "EventFd",
    "Fds",
    "Interval",
    "IoEventFd",
    "IrqData",
    "IrqInfo",
    "Mapping",
    "ProtocolError",
    "RegionInfo",
    "RemoteMemory",
    "VfioError",
]
