# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaTable: the IOVA space of a device in software, with what its DMA reads and writes."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator

from ..dma import IOVA_END, DmaMapping, DmaSpace
from ..errors import DeviceError, DmaFault
from ..interval_map import IntervalMap
from ..intervals import Interval
from ..mapping import PAGE_SIZE
from .dma_memory import HostMemory, Memory, open_file
from .remote_memory import Check, RemoteMemory

MAX_MAPPINGS = 65535


def _allow(iova: int, size: int) -> None:
    """The check of a device whose DMA nothing takes back."""


class _Entry:
    """What is behind a mapping: either memory of this host or remote memory."""

    __slots__ = ("end", "memory", "most", "readable", "remote", "start", "users", "writable")

    def __init__(
        self,
        mapping: DmaMapping,
        *,
        memory: Memory | None = None,
        remote: RemoteMemory | None = None,
    ) -> None:
        self.start, self.end = mapping.interval
        self.readable = mapping.readable
        self.writable = mapping.writable
        self.memory = memory
        self.remote = remote
        self.most = remote.max_size if remote else mapping.size  # bytes in one piece
        self.users = 0


class DmaTable(DmaSpace):
    """Mappings by IOVA, which may adjoin but not overlap. Safe to call from any thread.

    No lock is held while data moves: each piece of an access counts itself as a user of the
    mapping it touches, and unmap() takes a mapping out of the table first and then waits for
    its users, so that after it the memory is let go. It doesn't wait for accesses by message,
    which need a reply of the very peer that is unmapping; that peer refuses them itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition(threading.Lock())
        self._table: IntervalMap[_Entry] = IntervalMap()
        self._users = 0

    @property
    def page_sizes(self) -> int:
        return (IOVA_END - 1) & -PAGE_SIZE

    def iova_ranges(self) -> tuple[Interval, ...]:
        return (Interval(0, IOVA_END),)

    def _map(self, mapping: DmaMapping) -> None:
        memory: Memory
        if mapping.fd >= 0:
            memory = open_file(
                mapping.fd,
                mapping.offset,
                mapping.iova,
                mapping.size,
                readable=mapping.readable,
                writable=mapping.writable,
            )
        else:
            memory = HostMemory(mapping.address, mapping.iova)
        try:
            self._enter(mapping, _Entry(mapping, memory=memory))
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
        """Let the device reach memory of another process, by messages to it. Raises DeviceError."""
        mapping = DmaMapping(iova, size, readable=readable, writable=writable)
        self._add(mapping, lambda mapping: self._enter(mapping, _Entry(mapping, remote=memory)))

    def _enter(self, mapping: DmaMapping, entry: _Entry) -> None:
        with self._changed:
            if len(self._table) >= MAX_MAPPINGS:
                cure = f"there are {MAX_MAPPINGS} mappings already"
                raise DeviceError.answered(f"mapping {mapping}", errno.ENOSPC, cure)
            self._table.add(mapping.interval, entry)

    def _unmap(self, mapping: DmaMapping) -> None:
        with self._changed:
            entry = self._table.pop(mapping.interval)
        if entry:
            self._let_go(entry)

    def _unmap_all(self) -> None:
        with self._changed:
            entries = list(self._table)
            self._table.clear()
        for entry in entries:
            self._let_go(entry)

    def _let_go(self, mapping: _Entry) -> None:
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

    def _use(self, iova: int, size: int, write: bool, check: Check) -> _Entry | None:
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

    def _done(self, mapping: _Entry) -> None:
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

    def _find(self, at: int, iova: int, size: int, write: bool) -> _Entry:
        """The mapping of one IOVA of a range that is accessed."""
        mapping = self._table.at(at)
        if mapping is None:
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
