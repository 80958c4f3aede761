# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA logging: the device itself notes what memory it has written, for migration.

VFIO_DEVICE_FEATURE_DMA_LOGGING_* of <linux/vfio.h>. Where a device can't, its IOMMU may: see
DmaSpace.dirty.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence

from .errors import DeviceError
from .intervals import Interval, Intervals

_SPACE_END = 1 << 64


class DmaLogging(ABC):
    """The DMA log of one device; all methods raise VfioError."""

    name: str
    """The device's, for messages."""

    @abstractmethod
    def start(self, ranges: Sequence[Interval], page_size: int = 4096) -> int:
        """Note writes to these IOVAs, in pages of about page_size; tells which it has taken.

        Without ranges, writes to any. Raises DeviceError: EALREADY if it is running.
        """

    @abstractmethod
    def stop(self) -> None:
        """Note no more, and forget."""

    @abstractmethod
    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        """The IOVAs written to since the last report, in pages of page_size, and forget them.

        Pages are counted from where the range begins. If it raises, the log is worthless: take
        all for written.
        """

    def _check(self, page_size: int, *ranges: Interval) -> None:
        sensible = page_size.bit_count() == 1 and 0 < page_size < _SPACE_END
        if not sensible or any(not 0 <= r.start < r.end <= _SPACE_END for r in ranges):
            what = f"{self.name}: logging DMA to {', '.join(map(str, ranges))}"
            cure = f"page_size {page_size} must be a power of two, and the ranges in 64 bits"
            raise DeviceError.answered(what, errno.EINVAL, cure)
