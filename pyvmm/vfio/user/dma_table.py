# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaTable: the IOVA space of a device in software, with what its DMA reads and writes."""

from __future__ import annotations

import bisect
import contextlib
import errno
import threading
from collections.abc import Iterator

from ..dma import Check, DmaSpace, RemoteMemory
from ..errors import DeviceError, DmaFault
from ..intervals import Interval
from ..mapping import PAGE_SIZE
from .dma_memory import HostMemory, Memory, open_file

IOVA_END = 1 << 64
MAX_MAPPINGS = 65535


def _allow(iova: int, size: int) -> None:
    """The check of a device whose DMA nothing takes back."""


class _Mapping:
    __slots__ = ("end", "memory", "most", "readable", "remote", "start", "users", "writable")

    def __init__(
        self,
        iova: int,
        size: int,
        readable: bool,
        writable: bool,
        *,
        memory: Memory | None = None,
        remote: RemoteMemory | None = None,
    ) -> None:
        """Either memory of this host or remote memory is behind it."""
        self.start = iova
        self.end = iova + size
        self.readable = readable
        self.writable = writable
        self.memory = memory
        self.remote = remote
        self.most = remote.max_size if remote else size  # bytes in one piece
        self.users = 0


class DmaTable(DmaSpace):
    """Mappings by IOVA, which may adjoin but not overlap. Safe to call from any thread.

    No lock is held while data moves: each piece of an access counts itself as a user of the
    mapping it touches, and unmap() takes a mapping out of the table first and then waits for
    its users, so that after it the memory is let go. It doesn't wait for accesses by message,
    which need a reply of the very peer that is unmapping; that peer refuses them itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._starts: list[int] = []
        self._mappings: list[_Mapping] = []
        self._users = 0

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
        readable: bool = True,
        writable: bool = True,
    ) -> None:
        what = self._check_memory(iova, size, address, fd)
        memory: Memory
        if fd >= 0:
            memory = open_file(fd, offset, iova, size, readable=readable, writable=writable)
        else:
            memory = HostMemory(address, iova)
        try:
            self._insert(_Mapping(iova, size, readable, writable, memory=memory), what)
        except DeviceError:
            memory.close()
            raise

    def map_remote(
        self,
        iova: int,
        size: int,
        memory: RemoteMemory,
        *,
        readable: bool = True,
        writable: bool = True,
    ) -> None:
        what = self._check(iova, size)
        self._insert(_Mapping(iova, size, readable, writable, remote=memory), what)

    def _insert(self, mapping: _Mapping, what: str) -> None:
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
        if mapping.memory:
            with self._changed:
                self._changed.wait_for(lambda: not mapping.users)
            mapping.memory.close()

    def drain(self) -> None:
        """Wait for the accesses under way: none goes on whose check has begun to fail.

        Not for a reply to those by message, which are on their way as far as the peer is
        concerned, and which may need this very thread to be read.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._users)

    def read(self, iova: int, size: int, check: Check = _allow) -> bytes:
        """Read size bytes at an IOVA, over adjoining mappings. Raises DmaFault.

        check is asked about each piece, right before it moves.
        """
        mapping = self._use(iova, size, False, check)
        if mapping is None:
            pieces = _cut(self._spans(iova, size, False))
            return b"".join(self.read(at, length, check) for at, length in pieces)
        if mapping.remote:
            return mapping.remote.read(iova, size, check)
        assert mapping.memory
        try:
            return mapping.memory.read(iova - mapping.start, size)
        finally:
            self._done(mapping)

    def write(self, iova: int, data: bytes | memoryview, check: Check = _allow) -> None:
        """Write bytes at an IOVA, over adjoining mappings. Raises DmaFault.

        Nothing is written unless all of it may be. check is as for read().
        """
        size = len(data)
        mapping = self._use(iova, size, True, check)
        if mapping is None:
            left = memoryview(data)
            for at, length in _cut(self._spans(iova, size, True)):
                self.write(at, left[at - iova : at - iova + length], check)
            return
        if mapping.remote:
            mapping.remote.write(iova, data, check)
            return
        assert mapping.memory
        try:
            mapping.memory.write(iova - mapping.start, data)
        finally:
            self._done(mapping)

    @contextlib.contextmanager
    def view(
        self, iova: int, size: int, *, write: bool = False, check: Check = _allow
    ) -> Iterator[memoryview | None]:
        """The very bytes at an IOVA, to move data without a copy; read-only if mapped so.

        None if they can't be had so: read() and write() can. An unmap waits for the end of
        the block, which therefore waits for nothing itself. Raises DmaFault.
        """
        mapping = self._use(iova, size, write, check)
        if mapping is None or mapping.memory is None:
            self._spans(iova, size, write)
            yield None
            return
        try:
            yield mapping.memory.view(iova - mapping.start, size)
        finally:
            self._done(mapping)

    def _use(self, iova: int, size: int, write: bool, check: Check) -> _Mapping | None:
        """Become a user of the one mapping under a range; None if it takes several pieces.

        Remote mappings have no users: they can be let go at any time.
        """
        with self._changed:
            check(iova, size)
            if not size:
                return None
            mapping = self._find(iova, iova, size, write)
            if size > mapping.most or iova + size > mapping.end:
                return None
            if mapping.memory:
                mapping.users += 1
                self._users += 1
            return mapping

    def _done(self, mapping: _Mapping) -> None:
        with self._changed:
            mapping.users -= 1
            self._users -= 1
            if not mapping.users:
                self._changed.notify_all()

    def _spans(self, iova: int, size: int, write: bool) -> list[tuple[int, int, int]]:
        """(start, end, bytes in one piece) for each mapping under a range. Raises DmaFault."""
        spans = []
        at, end = iova, iova + size
        with self._changed:
            while at < end:
                mapping = self._find(at, iova, size, write)
                until = min(mapping.end, end)
                spans.append((at, until, mapping.most))
                at = until
        return spans

    def _find(self, at: int, iova: int, size: int, write: bool) -> _Mapping:
        """The mapping of one IOVA of a range that is accessed."""
        index = bisect.bisect_right(self._starts, at) - 1
        mapping = self._mappings[index] if index >= 0 else None
        if mapping is None or at >= mapping.end:
            raise DmaFault(iova, size)
        if write and not mapping.writable:
            raise DmaFault(iova, size, "mapped read-only")
        if not (write or mapping.readable):
            raise DmaFault(iova, size, "mapped write-only")
        return mapping


def _cut(spans: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """(IOVA, bytes) of each piece."""
    for start, end, most in spans:
        for at in range(start, end, most):
            yield at, min(most, end - at)
