# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The error information log (section 5.14.1.1): the last commands that failed, the newest first."""

from __future__ import annotations

import struct
from collections import deque

from .spec import Command

ENTRIES = 64
_ENTRY = struct.Struct("<QHHHHQI28x8x")


class ErrorLog:
    """Entries of commands, added by any thread."""

    def __init__(self) -> None:
        self.count = 0
        self._entries: deque[bytes] = deque(maxlen=ENTRIES)

    def add(self, sq_id: int, command: Command, status: int, where: int) -> None:
        """`where` is the byte of the command that is at fault; -1 if it is none."""
        self.count += 1
        lba = command.cdw11 << 32 | command.cdw10 if sq_id else 0
        place = where & 0xFFFF
        entry = _ENTRY.pack(self.count, sq_id, command.cid, status << 1, place, lba, command.nsid)
        self._entries.appendleft(entry)

    def page(self) -> bytes:
        return b"".join(self._entries).ljust(ENTRIES * _ENTRY.size, b"\0")
