# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guard: a device as far as a guest may feel it. Whatever it does, a vCPU gets an answer.

Reads that fail give all-ones and writes that fail are dropped, as on a bus where nobody answers.
Both are counted, and told once of each kind: a guest can repeat them as fast as it likes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from pyvmm.vfio import Device, DeviceGone, VfioError

from .interfaces import Report


class Guard:
    """Stands between one device and the guest. Safe from any thread."""

    def __init__(self, device: Device, report: Report, remove: Callable[[], None]) -> None:
        """report(line) is for people; remove() is called once, when the device is lost.

        Both are called on whichever thread finds out, a vCPU's perhaps, and must not block.
        """
        self.device = device
        self.gone: VfioError | None = None
        """Why the device is lost, and not asked again; None while it is there."""
        self.counts: Counter[str] = Counter()
        """How often what went wrong, by kind."""
        self._report = report
        self._remove = remove
        self._lock = threading.Lock()

    def read(self, region: int, offset: int, size: int) -> int:
        """Read size bytes at offset of one of the device's regions, little-endian."""
        if self.gone:
            self.counts["accesses after the device was lost"] += 1
        else:
            try:
                return int.from_bytes(self.device.region_read(region, offset, size), "little")
            except VfioError as error:
                self.failed("reads refused", error)
        return (1 << 8 * size) - 1

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """Write likewise."""
        if self.gone:
            self.counts["accesses after the device was lost"] += 1
            return
        try:
            self.device.region_write(region, offset, value.to_bytes(size, "little"))
        except VfioError as error:
            self.failed("writes refused", error)

    def failed(self, kind: str, error: Exception) -> None:
        """Take note of an error that the guest is not to feel."""
        with self._lock:
            self.counts[kind] += 1
            first = self.counts[kind] == 1
        if isinstance(error, DeviceGone):
            self.lost(error)
        elif first:
            self._report(str(error))

    def lost(self, error: VfioError) -> None:
        """The device is lost. Whose it is tells people, and only the first time counts."""
        with self._lock:
            if self.gone:
                return
            self.gone = error
        self._remove()
