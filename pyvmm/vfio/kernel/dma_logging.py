# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA logging by the kernel's devices: only those with a driver made for it can."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence

from ...uapi import vfio
from ..dirty_bitmap import bitmap_words, dirty_ranges
from ..dma_logging import DmaLogging
from ..features import Access, Feature, lacking
from ..intervals import Interval, Intervals
from .features import KernelFeatures

_RANGE = struct.Struct("=QQ")  # iova, length


class KernelDmaLogging(DmaLogging):
    """The DMA log of one device of the kernel's."""

    def __init__(self, features: KernelFeatures) -> None:
        """Raises DeviceError (ENOTTY) if the device has no log."""
        self._features = features
        self.name = features.name
        if not features.probe(Feature.DMA_LOGGING_START) & Access.SET:
            cure = "it takes a variant driver made for the device; its IOMMU may do it instead"
            raise lacking(self.name, "logging its DMA", cure)

    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
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

    def stop(self) -> None:
        self._features.set(Feature.DMA_LOGGING_STOP)

    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        self._check(page_size, within)
        words = bitmap_words(within, page_size)
        report = vfio.vfio_device_feature_dma_logging_report(
            within.start, within.size, page_size, ctypes.addressof(words)
        )
        cure = {errno.EINVAL: "it isn't running, or page_size is no power of two from 4096 up"}
        self._features.get(Feature.DMA_LOGGING_REPORT, bytes(report), cures=cure)
        return dirty_ranges(words, within, page_size)
