# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What makes a function the same one as before, to a guest and to the place it has in a machine.

Bridges' windows and addresses were given out for its BARs, and a guest that boots again may expect
to find what it was set up for. What it can do beyond that, a driver asks it anew. A revision may
change: a server may be of a newer one when it is back.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyvmm.uapi.pci_regs import (
    PCI_CLASS_REVISION,
    PCI_DEVICE_ID,
    PCI_SUBSYSTEM_ID,
    PCI_SUBSYSTEM_VENDOR_ID,
    PCI_VENDOR_ID,
)

from .bars import Bar
from .config_space import ConfigSpace

Identity = tuple[str, ...]
"""Traits, each as people read it, and what tells most comes first."""


def identity(
    snapshot: ConfigSpace, bars: Iterable[Bar], vectors: Iterable[tuple[str, int]]
) -> Identity:
    """That of a function with these BARs; snapshot holds the device's own registers.

    vectors are the kinds of interrupt that it has, MSI and MSI-X, and how many of each.
    """
    vendor, device = snapshot.u16(PCI_VENDOR_ID), snapshot.u16(PCI_DEVICE_ID)
    subsystem = snapshot.u16(PCI_SUBSYSTEM_VENDOR_ID), snapshot.u16(PCI_SUBSYSTEM_ID)
    class_code = snapshot.u32(PCI_CLASS_REVISION) >> 8
    return (
        f"device {vendor:04x}:{device:04x}",
        f"subsystem {subsystem[0]:04x}:{subsystem[1]:04x}",
        f"class {class_code:06x}",
        *(_described(bar) for bar in bars),
        *(f"{count} {kind} vector{'' if count == 1 else 's'}" for kind, count in vectors),
    )


def _described(bar: Bar) -> str:
    prefetchable = ", prefetchable" if bar.prefetchable else ""
    return f"{bar} of {bar.size:#x} bytes ({bar.kind}{prefetchable})"


def difference(before: Identity, now: Identity) -> str:
    """The first thing in which one differs from another, for people; "" if it doesn't."""
    came = next((trait for trait in now if trait not in before), "")
    went = next((trait for trait in before if trait not in now), "")
    return f"{came or 'nothing'} instead of {went or 'nothing'}" if came or went else ""
