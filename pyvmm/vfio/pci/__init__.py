# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI devices as their drivers see them: configuration space, BARs, interrupts, DMA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...uapi.lazy import attributes

if TYPE_CHECKING:
    from .bars import Bar, MappedBar
    from .capability import Capability
    from .config import Config
    from .interrupts import Interrupt, Interrupts
    from .pci_device import PciDevice
    from .registers import Field, Flag, Register, RegisterMap, named_registers
    from .where import open
    from .window import Window

__all__ = [
    "Bar",
    "Capability",
    "Config",
    "Field",
    "Flag",
    "Interrupt",
    "Interrupts",
    "MappedBar",
    "PciDevice",
    "Register",
    "RegisterMap",
    "Window",
    "named_registers",
    "open",
]

# Who only describes registers, or reads configuration space, needs neither BARs nor interrupts.
_HOMES = {
    "Bar": "bars",
    "Capability": "capability",
    "Config": "config",
    "Field": "registers",
    "Flag": "registers",
    "Interrupt": "interrupts",
    "Interrupts": "interrupts",
    "MappedBar": "bars",
    "PciDevice": "pci_device",
    "Register": "registers",
    "RegisterMap": "registers",
    "Window": "window",
    "named_registers": "registers",
    "open": "where",
}

__getattr__ = attributes(__name__, _HOMES)
