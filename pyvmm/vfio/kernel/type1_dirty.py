# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Type1Dirty: dirty page tracking of a type1 container (VFIO_IOMMU_DIRTY_PAGES).

type1 knows what is pinned, not what is written: with a device that can do DMA to all that is
mapped, all of it counts as dirty, every time.
"""

from __future__ import annotations

import ctypes
import errno

from ...uapi import vfio
from ..dirty import DirtyTracking
from ..dirty_bitmap import bitmap_words, dirty_ranges
from ..intervals import Interval, Intervals
from .kernel_file import KernelFile


class _Request(ctypes.Structure):
    """The request with the part that follows it."""

    _fields_ = (
        ("head", vfio.vfio_iommu_type1_dirty_bitmap),
        ("get", vfio.vfio_iommu_type1_dirty_bitmap_get),
    )


class Type1Dirty(DirtyTracking):
    """Made by a Container, whose file it uses."""

    def __init__(self, file: KernelFile, page_size: int) -> None:
        self._file = file
        self._page_size = page_size

    @property
    def page_size(self) -> int:
        return self._page_size

    def start(self) -> None:
        self._switch(vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START, "starting")

    def stop(self) -> None:
        self._switch(vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, "stopping")

    def report(self, within: Interval) -> Intervals:
        words = bitmap_words(within, self._page_size)
        request = _Request()
        request.head.argsz = ctypes.sizeof(request)
        request.head.flags = vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP
        request.get.iova = within.start
        request.get.size = within.size
        request.get.bitmap.pgsize = self._page_size
        request.get.bitmap.size = ctypes.sizeof(words)
        request.get.bitmap.data = ctypes.addressof(words)
        cures = {
            errno.EINVAL: "it has to be started, and the range to begin and end where mappings do",
            errno.ENOENT: "nothing is mapped there",
        }
        doing = f"asking what of {within} was written"
        self._file.ioctl("VFIO_IOMMU_DIRTY_PAGES", request, doing=doing, cures=cures)
        return dirty_ranges(words, within, self._page_size)

    def _switch(self, flag: int, verb: str) -> None:
        size = ctypes.sizeof(vfio.vfio_iommu_type1_dirty_bitmap)
        request = vfio.vfio_iommu_type1_dirty_bitmap(argsz=size, flags=flag)
        doing = f"{verb} to track dirty pages"
        self._file.ioctl("VFIO_IOMMU_DIRTY_PAGES", request, doing=doing)
