# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI addresses that people give, and names in sysfs that are some."""

from __future__ import annotations

from ..address import parse
from ..errors import HostDeviceUnavailable


def is_address(name: str) -> bool:
    """Whether name is a PCI address in full, in sysfs's notation."""
    return parse(name) == name


def full_address(text: str) -> str:
    """The address in sysfs's notation, for one that may lack the domain or have capitals.

    Raises HostDeviceUnavailable if it is no PCI address.
    """
    address = parse(text.strip())
    if address is None:
        raise HostDeviceUnavailable(
            f"{text!r} is no PCI address",
            "one looks like 0000:01:00.0, and `pyvmm devices` lists those that there are",
        )
    return address
