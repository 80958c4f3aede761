# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaTable: the IOVA space of a device in software, with what its DMA reads and writes."""

from __future__ import annotations

import bisect
import errno
import threading

from ..dma import DmaSpace, RemoteMemory
from ..errors import DeviceError, DmaFault
from ..intervals import Interval
from ..mapping import PAGE_SIZE
from .dma_memory import HostMemory, Memory, MessageMemory, open_file

IOVA_END = 1 << 64
MAX_MAPPINGS = 65535


class _Mapping:
    __slots__ = ("end", "memory", "start", "users", "writable")

    def __init__(self, start: int, size: int, memory: Memory, writable: bool) -> None:
        self.start = start
        self.end = start + size
        self.memory = memory
        self.writable = writable
        self.users = 0


class DmaTable(DmaSpace):
    """Mappings by IOVA, which may adjoin but not overlap. Safe to call from any thread.

    No lock is held while data moves: an access counts itself as a user of the mappings it
    touches, and unmap() takes a mapping out of the table first and then waits for its users,
    so that after it the memory is let go. It doesn't wait for accesses by message, which need
    a reply of the very peer that is unmapping; that peer refuses them itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._starts: list[int] = []
        self._mappings: list[_Mapping] = []

    @property
    def page_sizes(self) -> int:
        return (IOVA_END - 1) & -PAGE_SIZE

    def iova_ranges(self) -> tuple[Interval, ...]:
        return (Interval(0, IOVA_END),)

    def map(
        self,
        iova: int,
        size: int,
        *,
        address: int,
        fd: int = -1,
        offset: int = 0,
        writable: bool = True,
    ) -> None:
        what = self._check(iova, size)
        memory: Memory
        if fd >= 0:
            memory = open_file(fd, offset, iova, size, writable)
        elif not address:
            raise DeviceError.answered(what, errno.EINVAL, "there is neither memory nor a file")
        else:
            memory = HostMemory(address, size)
        self._insert(_Mapping(iova, size, memory, writable), what)

    def map_remote(
        self, iova: int, size: int, memory: RemoteMemory, *, writable: bool = True
    ) -> None:
        what = self._check(iova, size)
        self._insert(_Mapping(iova, size, MessageMemory(iova, memory), writable), what)

    def _check(self, iova: int, size: int) -> str:
        what = f"mapping IOVA {iova:#x}+{size:#x}"
        if iova < 0 or size <= 0 or iova + size > IOVA_END:
            raise DeviceError.answered(what, errno.EINVAL)
        return what

    def _insert(self, mapping: _Mapping, what: str) -> None:
        try:
            with self._changed:
                at = bisect.bisect_left(self._starts, mapping.start)
                before = self._mappings[at - 1] if at else None
                after = self._mappings[at] if at < len(self._mappings) else None
                if (before and before.end > mapping.start) or (after and after.start < mapping.end):
                    raise DeviceError.answered(what, errno.EEXIST)
                if len(self._mappings) >= MAX_MAPPINGS:
                    raise DeviceError.answered(what, errno.ENOSPC)
                self._starts.insert(at, mapping.start)
                self._mappings.insert(at, mapping)
        except DeviceError:
            mapping.memory.close()
            raise

    def unmap(self, iova: int, size: int) -> None:
        with self._changed:
            at = bisect.bisect_left(self._starts, iova)
            mapping = self._mappings[at] if at < len(self._mappings) else None
            if mapping is None or mapping.start != iova or mapping.end != iova + size:
                raise DeviceError.answered(f"unmapping IOVA {iova:#x}+{size:#x}", errno.ENOENT)
            del self._starts[at], self._mappings[at]
        self._let_go(mapping)

    def close(self) -> None:
        """Unmap everything. Idempotent."""
        with self._changed:
            mappings, self._mappings, self._starts = self._mappings, [], []
        for mapping in mappings:
            self._let_go(mapping)

    def _let_go(self, mapping: _Mapping) -> None:
        if mapping.memory.local:
            with self._changed:
                self._changed.wait_for(lambda: not mapping.users)
        mapping.memory.close()

    def read(self, iova: int, size: int) -> bytes:
        """Read size bytes at an IOVA, over adjoining mappings. Raises DmaFault, DeviceGone."""
        uses = self._use(iova, size, False)
        try:
            if len(uses) == 1:
                mapping = uses[0]
                return mapping.memory.read(iova - mapping.start, size)
            return b"".join(m.memory.read(at, n) for m, at, n in _pieces(uses, iova, size))
        finally:
            self._done(uses)

    def write(self, iova: int, data: bytes | memoryview) -> None:
        """Write bytes at an IOVA, over adjoining mappings. Raises DmaFault, DeviceGone.

        Nothing is written unless all of it may be.
        """
        size = len(data)
        uses = self._use(iova, size, True)
        try:
            if len(uses) == 1:
                mapping = uses[0]
                mapping.memory.write(iova - mapping.start, data)
                return
            left = memoryview(data)
            for mapping, at, n in _pieces(uses, iova, size):
                mapping.memory.write(at, left[:n])
                left = left[n:]
        finally:
            self._done(uses)

    def view(self, iova: int, size: int, *, write: bool = False) -> memoryview | None:
        """The very bytes at an IOVA, to move data without a copy; read-only if mapped so.

        None if they can't be had so: read() and write() can. Drop it when the transfer is
        done: an unmap waits for it (up to a second, so that no peer is stalled for ever).
        Raises DmaFault.
        """
        uses = self._use(iova, size, write)
        try:
            if len(uses) != 1:
                return None
            return uses[0].memory.view(iova - uses[0].start, size)
        finally:
            self._done(uses)

    def _use(self, iova: int, size: int, write: bool) -> list[_Mapping]:
        """Find the mappings under a range, and become a user of each."""
        if not size:
            return []
        end = iova + size
        found: list[_Mapping] = []
        with self._changed:
            at = bisect.bisect_right(self._starts, iova) - 1
            reached = iova
            while reached < end:
                mapping = self._mappings[at] if 0 <= at < len(self._mappings) else None
                if mapping is None or not mapping.start <= reached < mapping.end:
                    raise DmaFault(iova, size)
                if write and not mapping.writable:
                    raise DmaFault(iova, size, "mapped read-only")
                found.append(mapping)
                reached = mapping.end
                at += 1
            for mapping in found:
                mapping.users += 1
        return found

    def _done(self, uses: list[_Mapping]) -> None:
        with self._changed:
            for mapping in uses:
                mapping.users -= 1
                if not mapping.users:
                    self._changed.notify_all()


def _pieces(uses: list[_Mapping], iova: int, size: int) -> list[tuple[_Mapping, int, int]]:
    """(mapping, offset in it, bytes) for each part of a range over several mappings."""
    end = iova + size
    return [(m, max(iova, m.start) - m.start, min(end, m.end) - max(iova, m.start)) for m in uses]
