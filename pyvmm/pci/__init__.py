# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI: the bus and the host bridge, and the guest's view of one VFIO device.

Names are loaded when they are first used: a VM without devices needs few of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .allocator import Windows, place
    from .assigned import Assigned
    from .bars import Bar
    from .bus import Bus, Function, bdf_name
    from .errors import BadDevice, BusConflict, NoRoom, PciError
    from .handlers import Layer
    from .host_bridge import ConfigPorts, Ecam, HostBridge
    from .pins import intx_gsi

__all__ = [
    "Assigned",
    "BadDevice",
    "Bar",
    "Bus",
    "BusConflict",
    "ConfigPorts",
    "Ecam",
    "Function",
    "HostBridge",
    "Layer",
    "NoRoom",
    "PciError",
    "Windows",
    "bdf_name",
    "intx_gsi",
    "place",
]

_HOME = {
    "allocator": ("Windows", "place"),
    "assigned": ("Assigned",),
    "bars": ("Bar",),
    "bus": ("Bus", "Function", "bdf_name"),
    "errors": ("BadDevice", "BusConflict", "NoRoom", "PciError"),
    "handlers": ("Layer",),
    "host_bridge": ("ConfigPorts", "Ecam", "HostBridge"),
    "pins": ("intx_gsi",),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _HOME.items():
        if name in names:
            value: object = getattr(import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
