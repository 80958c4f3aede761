# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong while a PCI bus is put together. At run time nothing raises to the guest."""

from __future__ import annotations


class PciError(Exception):
    """Base of the pci room's errors."""


class BusConflict(PciError):
    """A function can't be at the address it was given."""


class NoRoom(PciError):
    """A BAR fits into no window of the machine."""


class BadLayer(PciError):
    """A layer was to lie where the device has no BAR."""


class BadDevice(PciError):
    """What a device tells of itself can't be true, or can't be shown to a guest."""


class BadRom(PciError):
    """A file is no expansion ROM."""
