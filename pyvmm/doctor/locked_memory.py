# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The limit on locked memory: all that a device can reach is locked."""

from __future__ import annotations

from pyvmm.vfio.kernel.locked_memory import LOCK_MORE, lock_limit

from .._finding import Finding

_SUBJECT = "locked memory"


def check(root: str) -> Finding:
    """Whether this process may lock as much as it wants."""
    limit = lock_limit()
    if limit is None:
        return Finding(_SUBJECT, True, "as much as there is")
    text = f"{limit >> 10} KiB at most, and a guest with a device has all of its memory locked"
    return Finding(_SUBJECT, False, text, LOCK_MORE, needed=False)
