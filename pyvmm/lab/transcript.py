# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Transcript: what another process writes, in memory; its end can be read even after close().

A thread that waits for a lab may want to tell what it said last while another one closes it.
"""

from __future__ import annotations

import os
import threading

_TAIL = 1 << 14  # bytes


class Transcript:
    """Owns a file without a name: nothing of it stays when this process is killed."""

    def __init__(self, name: str) -> None:
        self._fd = os.memfd_create(name, os.MFD_CLOEXEC)
        self._kept = ""
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """For who is to write it. It is -1 after close()."""
        return self._fd

    @property
    def tail(self) -> str:
        """The last part of what was written so far."""
        with self._lock:
            return self._kept if self._fd < 0 else self._read()

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._fd >= 0:
                self._kept = self._read()
                os.close(self._fd)
                self._fd = -1

    def _read(self) -> str:
        size = os.fstat(self._fd).st_size
        start = max(0, size - _TAIL)
        return os.pread(self._fd, size - start, start).decode(errors="replace")
