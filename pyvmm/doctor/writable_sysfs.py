# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""sysfs, by which devices change drivers; containers have it read-only."""

from __future__ import annotations

import os

from .._finding import Finding

_SUBJECT = "sysfs"


def check(root: str) -> Finding:
    """Whether anybody can write to it here."""
    try:
        flags = os.statvfs(os.path.join(root, "sys/bus/pci")).f_flag
    except OSError:
        return Finding(_SUBJECT, False, "there is no PCI bus in it", "look at the host itself")
    if flags & os.ST_RDONLY:
        text = "read-only here, as in most containers: no device can change its driver"
        return Finding(_SUBJECT, False, text, "run `pyvmm bind` outside", needed=False)
    return Finding(_SUBJECT, True, "mounted for writing, which takes root (sudo pyvmm bind)")
