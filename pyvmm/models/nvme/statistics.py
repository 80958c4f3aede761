# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the SMART log counts (section 5.14.1.2), over all resets."""

from __future__ import annotations

import time


class Statistics:
    def __init__(self) -> None:
        self.bytes_read = self.bytes_written = 0
        self.reads = self.writes = 0
        self.media_errors = 0
        self._since = time.monotonic()

    def read(self, size: int) -> None:
        self.reads += 1
        self.bytes_read += size

    def write(self, size: int) -> None:
        self.writes += 1
        self.bytes_written += size

    @property
    def power_on_hours(self) -> int:
        return int((time.monotonic() - self._since) / 3600)
