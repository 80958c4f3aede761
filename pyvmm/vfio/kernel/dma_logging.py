# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA logging: the device itself notes what it has written, for migration.

Only devices with a driver made for it can; the IOMMU may do it for others.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence

from ...uapi import vfio
from ..errors import DeviceError
from ..intervals import Interval
from .dirty_bitmap import bitmap_words, dirty_ranges
from .features import Access, Feature, Features

_RANGE = struct.Struct("=QQ")  # iova, length


class DmaLogging:
    """The DMA log of one device; all methods raise VfioError."""

    def __init__(self, features: Features) -> None:
        """Raises DeviceError (ENOTTY) if the device has no log."""
        self._features = features
        if not features.probe(Feature.DMA_LOGGING_START) & Access.SET:
            what = f"{features.name}: logging its DMA"
            cure = "it takes a variant driver made for the device; its IOMMU may do it instead"
            raise DeviceError.answered(what, errno.ENOTTY, cure)

    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
        """Note writes to these IOVAs, in pages of about page_size; tells which it has taken."""
        self._check(page_size, *ranges)
        table = b"".join(_RANGE.pack(r.start, r.size) for r in ranges)
        memory = ctypes.create_string_buffer(table, max(1, len(table)))
        control = vfio.vfio_device_feature_dma_logging_control(
            page_size, len(ranges), 0, ctypes.addressof(memory)
        )
        cure = {
            errno.E2BIG: "there are too many ranges: merge those that are near to each other",
            errno.EINVAL: "the ranges must be whole pages, and not overlap",
            errno.EALREADY: "stop the log that is running",
        }
        answer = self._features.set(Feature.DMA_LOGGING_START, bytes(control), cures=cure)
        taken: int = vfio.vfio_device_feature_dma_logging_control.from_buffer_copy(answer).page_size
        return taken

    def _check(self, page_size: int, *ranges: Interval) -> None:
        sensible = page_size.bit_count() == 1 and 0 < page_size < 1 << 64
        if not sensible or any(r.start < 0 or r.end > 1 << 64 for r in ranges):
            what = f"{self._features.name}: logging DMA to {', '.join(map(str, ranges))}"
            cure = f"page_size {page_size} must be a power of two, and the ranges in 64 bits"
            raise DeviceError.answered(what, errno.EINVAL, cure)

    def stop(self) -> None:
        self._features.set(Feature.DMA_LOGGING_STOP)

    def report(self, within: Interval, page_size: int = 4096) -> tuple[Interval, ...]:
        """The IOVAs written to since the last report, in pages of page_size, and forget them.

        If it raises, the log is worthless: take all for written.
        """
        self._check(page_size, within)
        words = bitmap_words(within, page_size)
        report = vfio.vfio_device_feature_dma_logging_report(
            within.start, within.size, page_size, ctypes.addressof(words)
        )
        cure = {errno.EINVAL: "it isn't running, or page_size is no power of two from 4096 up"}
        self._features.get(Feature.DMA_LOGGING_REPORT, bytes(report), cures=cure)
        return dirty_ranges(words, within, page_size)
