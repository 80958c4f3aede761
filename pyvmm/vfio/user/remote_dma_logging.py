# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteDmaLogging: the DMA log of a server's device.

Specification: VFIO_DEVICE_FEATURE_DMA_LOGGING_START, _STOP and _REPORT.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence

from ..device_features import LOGGING_CONTROL, LOGGING_RANGE, LOGGING_REPORT
from ..dirty_bitmap import bitmap_bytes, dirty_ranges
from ..dma_logging import DmaLogging
from ..features import Access, Feature, lacking
from ..intervals import Interval, Intervals, merge
from .protocol import DEVICE_FEATURE
from .remote_features import RemoteFeatures


class RemoteDmaLogging(DmaLogging):
    """The DMA log of one server's device."""

    def __init__(self, features: RemoteFeatures) -> None:
        """Raises DeviceError (ENOTTY) if the device has no log."""
        self.name = features.name
        self._features = features
        if not features.probe(Feature.DMA_LOGGING_START) & Access.SET:
            raise lacking(self.name, "logging its DMA", "its server hasn't got it")

    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
        self._check(page_size, *ranges)
        control = LOGGING_CONTROL.pack(page_size, len(ranges), 0)
        table = b"".join(LOGGING_RANGE.pack(r.start, r.size) for r in ranges)
        cure = {
            errno.EINVAL: "the ranges must not overlap; some servers take one page size only",
            errno.EALREADY: "stop the log that is running",
        }
        answer = self._features.set(Feature.DMA_LOGGING_START, control + table, cures=cure)
        taken: int = LOGGING_CONTROL.unpack_from(answer)[0]
        return taken

    def stop(self) -> None:
        self._features.set(Feature.DMA_LOGGING_STOP)

    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        self._check(page_size, within)
        room = self._features.max_transfer - DEVICE_FEATURE.size - LOGGING_REPORT.size
        step = max(8, room & -8) * 8 * page_size
        pieces = (
            Interval(start, min(start + step, within.end))
            for start in range(within.start, within.end, step)
        )
        return merge(dirty for piece in pieces for dirty in self._report(piece, page_size))

    def _report(self, within: Interval, page_size: int) -> Intervals:
        size = bitmap_bytes(within, page_size)
        asked = LOGGING_REPORT.pack(within.start, within.size, page_size)
        cure = {errno.EINVAL: "it isn't running, or it can't tell pages of that size apart"}
        answer = self._features.get(Feature.DMA_LOGGING_REPORT, asked, cures=cure, more=size)
        words = (ctypes.c_uint64 * (size // 8)).from_buffer_copy(answer, LOGGING_REPORT.size)
        return dirty_ranges(words, within, page_size)
