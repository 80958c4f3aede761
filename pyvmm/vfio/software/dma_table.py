# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaTable: the IOVA space of a device in software, with what its DMA reads and writes."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator

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

    __slots__ = (
        "awaited",
        "end",
        "memory",
        "most",
        "readable",
        "remote",
        "start",
        "users",
        "writable",
    )

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
        # Whether whoever takes it away, or resets the device, waits for accesses under way.
        self.awaited = remote is None or remote.awaited
        self.users = 0


class DmaTable(DmaSpace):
    """Mappings by IOVA, which may adjoin but not overlap. Safe to call from any thread.

    No lock is held while data moves: each piece of an access counts itself as a user of the
    mapping it touches, and unmap() takes a mapping out of the table first and then waits for
    its users, so that after it the memory is let go. It doesn't wait for accesses by message
    whose reply the very thread that unmaps might have to read; that peer refuses them itself.
    """

    on_write: Callable[[int, int], None] | None = None
    """Told of each write, by IOVA and size, once it is there and before anybody who waits for it
    goes on. Called with a lock held: no calling back.
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
        if mapping.awaited:
            with self._changed:
                self._changed.wait_for(lambda: not mapping.users)
        if mapping.memory:
            mapping.memory.close()

    def drain(self) -> None:
        """Wait for the accesses under way: none goes on whose check has begun to fail.

        Not for those by message whose reply might need this very thread to be read: as far as
        the peer is concerned they are on their way, before what it is told next.
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
        try:
            if mapping.remote:
                return mapping.remote.read(iova, size, check)
            assert mapping.memory
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
        try:
            if mapping.remote:
                mapping.remote.write(iova, data, self._noting(check))
            else:
                assert mapping.memory
                mapping.memory.write(iova - mapping.start, data)
        finally:
            self._done(mapping, iova, size)

    def _noting(self, check: Check) -> Check:
        """A check that also notes the write, for messages.

        What is told of writes goes the same way as the message, and not between check and
        message: so it is told only when the write is there, or on its way before it.
        """

        def checked(iova: int, size: int) -> None:
            check(iova, size)
            on_write = self.on_write
            if on_write:
                on_write(iova, size)

        return checked

    @contextlib.contextmanager
    def view(
        self, iova: int, size: int, *, write: bool = False, check: Check = _allow
    ) -> Iterator[memoryview | None]:
        """The very bytes at an IOVA, to move data without a copy; read-only if mapped so.

        None if they can't be had so: read() and write() can. An unmap waits for the end of
        the block, which therefore waits for nothing itself. Raises DmaFault.
        """
        mapping = self._use(iova, size, write, check)
        if mapping is None:
            self._spans(iova, size, write)
            yield None
            return
        view = mapping.memory.view(iova - mapping.start, size) if mapping.memory else None
        try:
            yield view
        finally:
            self._done(mapping, iova, size if write and view is not None else 0)

    def _use(self, iova: int, size: int, write: bool, check: Check) -> _Entry | None:
        """Become a user of the one mapping under a range, until _done().

        None if it takes several pieces.
        """
        with self._changed:
            check(iova, size)
            if not size:
                return None
            mapping = self._find(iova, iova, size, write)
            if size > mapping.most or iova + size > mapping.end:
                return None
            if mapping.awaited:
                mapping.users += 1
                self._users += 1
            return mapping

    def _done(self, mapping: _Entry, iova: int = 0, written: int = 0) -> None:
        with self._changed:
            if written and self.on_write:
                self.on_write(iova, written)
            if mapping.awaited:
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
