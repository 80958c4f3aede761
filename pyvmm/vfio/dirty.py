# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DirtyTracking: which of the memory that is mapped devices have written to, for live migration."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .intervals import Interval, Intervals


class DirtyTracking(ABC):
    """Of a DMA space, kept by its IOMMU. While it is off nothing is recorded.

    A device may keep a log of its own instead: see Device.dma_logging.
    """

    @property
    @abstractmethod
    def page_size(self) -> int:
        """The smallest unit, in bytes, in which it can be told what was written."""

    @abstractmethod
    def start(self) -> None:
        """Begin to record, from nothing. Raises DeviceError."""

    @abstractmethod
    def stop(self) -> None:
        """Record no more, and forget. Raises DeviceError."""

    @abstractmethod
    def report(self, within: Interval) -> Intervals:
        """The IOVAs of a range written to since the last report, in pages, and forget them.

        The range begins and ends where mappings do. Raises DeviceError.
        """
