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
from ..dma import IOVA_END
from ..dma_logging import DmaLogging
from ..errors import DeviceError, DeviceGone
from ..features import Access, Feature, lacking
from ..intervals import Interval, Intervals, align_outwards, intersect, merge, subtract
from .client_dma import ClientDma
from .protocol import DEVICE_FEATURE
from .remote_features import RemoteFeatures

_EVERYTHING = Interval(0, IOVA_END)


class RemoteDmaLogging(DmaLogging):
    """The DMA log of one server's device, and of what it has written by message.

    libvfio-user leaves the latter to its client, and of the former reports whole mappings only, in
    pages as large as when the log was started (others go wrong, or take it for ever). So that is
    what is asked for, of any server. What it tells too much is kept for the next report.
    """

    def __init__(self, features: RemoteFeatures, dma: ClientDma) -> None:
        """Raises DeviceError (ENOTTY) if the device has no log."""
        self.name = features.name
        self._features = features
        self._dma = dma
        self._page = 0  # bytes, as the server has it; 0: no log is running
        self._ranges: Intervals = ()
        self._kept: Intervals = ()
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
        running = self._page > 0
        if not running:  # before the server's does: nothing is missed between the two
            self._dma.log_messages(True)
        try:
            answer = self._features.set(Feature.DMA_LOGGING_START, control + table, cures=cure)
        except BaseException:
            if not running:
                self._dma.log_messages(False)
            raise
        taken: int = LOGGING_CONTROL.unpack_from(answer)[0]
        self._page = taken if taken.bit_count() == 1 else page_size
        self._ranges, self._kept = merge(ranges or (_EVERYTHING,)), ()
        return taken

    def stop(self) -> None:
        self._features.set(Feature.DMA_LOGGING_STOP)
        self._page, self._kept = 0, ()
        self._dma.log_messages(False)

    def report(self, within: Interval, page_size: int = 4096) -> Intervals:
        self._check(page_size, within)
        page = self._page or page_size
        dirty = [*self._kept, *intersect(self._dma.take_written(), self._ranges)]
        mapped = [each for each in self._dma.mappings if each.overlaps(within)]
        for each in mapped:
            for whole in intersect((each,), self._ranges):
                dirty += self._part(whole, page, lenient=self._dma.by_message_only(each))
        for rest in subtract((within,), mapped):
            # Perhaps it was mapped once; of what isn't, not all servers tell.
            dirty += self._part(rest, page, lenient=bool(mapped))
        self._kept = subtract(merge(dirty), (within,))
        return _in_pages(intersect(merge(dirty), (within,)), within, page_size)

    def _part(self, part: Interval, page_size: int, *, lenient: bool) -> Intervals:
        """What is written of one part; if lenient, nothing if the server doesn't tell."""
        room = self._features.max_transfer - DEVICE_FEATURE.size - LOGGING_REPORT.size
        step = max(8, room & -8) * 8 * page_size
        pieces = (
            Interval(start, min(start + step, part.end))
            for start in range(part.start, part.end, step)
        )
        try:
            return merge(dirty for piece in pieces for dirty in self._piece(piece, page_size))
        except DeviceError as error:
            if not lenient or isinstance(error, DeviceGone):
                raise
            return ()

    def _piece(self, within: Interval, page_size: int) -> Intervals:
        size = bitmap_bytes(within, page_size)
        asked = LOGGING_REPORT.pack(within.start, within.size, page_size)
        cure = {errno.EINVAL: "it isn't running, or it can't tell pages of that size apart"}
        answer = self._features.get(Feature.DMA_LOGGING_REPORT, asked, cures=cure, more=size)
        words = (ctypes.c_uint64 * (size // 8)).from_buffer_copy(answer, LOGGING_REPORT.size)
        return dirty_ranges(words, within, page_size)


def _in_pages(dirty: Intervals, within: Interval, page_size: int) -> Intervals:
    """Whole pages, which are counted from where the range begins."""
    moved = [Interval(each.start - within.start, each.end - within.start) for each in dirty]
    return merge(
        Interval(page.start + within.start, min(page.end + within.start, within.end))
        for page in align_outwards(moved, page_size)
    )
