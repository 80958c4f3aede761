# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI addresses as sysfs writes them: domain:bus:device.function, 0000:01:00.0."""

from __future__ import annotations

from ..errors import HostDeviceUnavailable

_HEX = frozenset("0123456789abcdef")


def is_address(name: str) -> bool:
    """Whether name is a PCI address in full, in sysfs's notation."""
    head, _, function = name.rpartition(".")
    parts = head.split(":")
    return (
        len(parts) == 3
        and len(parts[0]) >= 4
        and (len(parts[1]), len(parts[2])) == (2, 2)
        and all(_HEX.issuperset(part) for part in parts)
        and int(parts[2], 16) < 32
        and function in frozenset("01234567")
    )


def full_address(text: str) -> str:
    """The address in sysfs's notation, for one that may lack the domain or have capitals.

    Raises HostDeviceUnavailable if it is no PCI address.
    """
    address = text.strip().lower()
    if address.count(":") == 1:
        address = f"0000:{address}"
    if not is_address(address):
        raise HostDeviceUnavailable(
            f"{text!r} is no PCI address",
            "one looks like 0000:01:00.0, and `pyvmm devices` lists those that there are",
        )
    return address
