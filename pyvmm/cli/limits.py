# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Limits of the process that devices soon reach."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_many_open_files() -> None:
    """Raise the soft limit on open files to the hard one.

    Each vector of a device takes an eventfd, and MSI-X has up to 2048; the usual soft limit of
    1024 is there for users of select(), of which we are none.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
