# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Statistics: what the clients of one server have asked for so far."""

from __future__ import annotations

from collections import Counter

from .protocol import (
    VFIO_USER_REGION_READ,
    VFIO_USER_REGION_WRITE,
    VFIO_USER_REGION_WRITE_MULTI,
)

_WRITES = (VFIO_USER_REGION_WRITE, VFIO_USER_REGION_WRITE_MULTI)


class Statistics:
    """Counted by the thread that serves; any other may look."""

    def __init__(self) -> None:
        self.clients = 0
        """how many there have been, with the one that is there"""
        self.connected = False
        self.commands: Counter[int] = Counter()
        """by command (VFIO_USER_*), refused ones too"""

    @property
    def reads(self) -> int:
        """Messages that read from a region."""
        return self.commands[VFIO_USER_REGION_READ]

    @property
    def writes(self) -> int:
        """Messages that write to a region."""
        return sum(self.commands[command] for command in _WRITES)

    @property
    def others(self) -> int:
        """All other messages."""
        return sum(self.commands.copy().values()) - self.reads - self.writes
