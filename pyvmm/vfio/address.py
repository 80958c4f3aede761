# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI addresses as sysfs and lspci write them: domain:bus:device.function, 0000:01:00.0."""

from __future__ import annotations

import re

PATTERN = r"(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([01][0-9A-Fa-f])\.([0-7])"
"""Of a whole address, whose domain may be left out: then it is 0000."""

_ADDRESS = re.compile(PATTERN)


def parse(text: str) -> str | None:
    """The address in full, as sysfs writes it; None if text is no PCI address."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    domain, bus, device, function = (int(word, 16) for word in match.groups(default="0"))
    return format(domain, bus, device << 3 | function)


def format(domain: int, bus: int, devfn: int) -> str:
    """An address from its numbers, as sysfs writes it."""
    return f"{domain:04x}:{bus:02x}:{devfn >> 3:02x}.{devfn & 7}"
