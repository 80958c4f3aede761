# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupt pins: which GSI those of bus 0 are wired to, and the way there through bridges."""

from __future__ import annotations

FIRST_GSI = 16
_LINES = 4
_PINS = 4


def intx_gsi(device: int, pin: int) -> int:
    """The GSI of a pin (1 to 4 for INTA to INTD) of the device with that number, 0 to 31.

    GSIs 16 to 19, the IOAPIC pins that no ISA interrupt uses, in the usual swizzle: INTA of
    neighbouring devices goes to different ones. ACPI's _PRT must tell the guest the same.
    """
    return FIRST_GSI + (device + pin - 1) % _LINES


def swizzle(device: int, pin: int) -> int:
    """The pin that a bridge raises for a pin of the device with that number behind it.

    Source: PCI-to-PCI Bridge Architecture 1.2, section 9.1. Guests reckon it likewise.
    """
    return (device + pin - 1) % _PINS + 1
