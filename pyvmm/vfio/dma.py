# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaSpace: the IOVAs a device's DMA can reach, whatever it is that translates them."""

from __future__ import annotations

import errno
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from operator import index
from types import TracebackType
from typing import NamedTuple, Self

from .buffer import DmaBuffer, Huge, SharedMemory
from .dirty import DirtyTracking
from .errors import DeviceError
from .interval_map import IntervalMap
from .intervals import Interval, Intervals, subtract
from .iova import IovaAllocator
from .mapping import PAGE_SIZE

IOVA_END = 1 << 64

_ADDRESS_END = 1 << 64
_MAX_FD = (1 << 31) - 1


class DmaMapping(NamedTuple):
    """Memory of this process at an IOVA: what map() was given. In bytes."""

    iova: int
    size: int
    address: int = 0
    fd: int = -1
    offset: int = 0
    readable: bool = True
    writable: bool = True

    @property
    def interval(self) -> Interval:
        return Interval.sized(self.iova, self.size)

    def __str__(self) -> str:
        return f"IOVA {self.iova:#x}+{self.size:#x}"


class DmaSpace(ABC):
    """An IO address space: type1 container, iommufd IOAS, vfio-user peer or DmaTable.

    A context manager. It outlives the devices that use it, and several may share it. Mappings
    are made and removed whole: unmap() takes exactly what a map() was given. Safe to call from
    any thread; one mapping is made or removed at a time.

    What derives from it says in _map() and _unmap() how; the book of what is mapped is kept here.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._book: IntervalMap[DmaMapping] = IntervalMap()
        self._iovas: IovaAllocator | None = None
        self._closed = False
        self._pid = os.getpid()

    # What it is.

    @property
    @abstractmethod
    def page_sizes(self) -> int:
        """Bitmap of the page sizes it maps; the lowest is the granularity of map()."""

    @property
    def page_size(self) -> int:
        """The smallest of its pages, in bytes: all that is mapped is multiples of it."""
        sizes = self.page_sizes
        return sizes & -sizes

    @abstractmethod
    def iova_ranges(self) -> Intervals:
        """The IOVAs that may be mapped at all."""

    @property
    def mappings(self) -> Intervals:
        """The IOVAs of all mappings, by rising address; those that touch stay apart."""
        return self._book.intervals

    @property
    def entries_available(self) -> int | None:
        """How many more mappings it takes; None if there is no fixed number."""
        return None

    @property
    def dirty(self) -> DirtyTracking | None:
        """Tells what devices have written; None if nobody keeps track of it here."""
        return None

    # Mapping.

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
        """Let the device reach size bytes of memory at IOVA iova.

        The memory is at the host-virtual address, and also, if fd is not -1, at offset in
        that file, which a device in another process can map for itself. The address may be
        0 if there is a file: then it is not mapped in this process yet. The caller keeps the
        fd, and keeps the memory until unmap(). Raises DeviceError, with EEXIST if part of the
        range is mapped already.
        """
        iova, size, address = index(iova), index(size), index(address)
        mapping = DmaMapping(iova, size, address, index(fd), index(offset), readable, writable)
        doing = f"mapping {mapping}"
        if fd < 0 and not address:
            cure = "there is neither memory nor a file"
            raise DeviceError.answered(doing, errno.EINVAL, cure)
        if not 0 <= address < _ADDRESS_END:
            cure = f"{address:#x} is no address of this process's memory"
            raise DeviceError.answered(doing, errno.EFAULT, cure)
        if fd > _MAX_FD:
            raise DeviceError.answered(doing, errno.EBADF, f"{fd} is no file descriptor")
        self._add(mapping, self._map)

    def unmap(self, iova: int, size: int) -> None:
        """Undo map(); when it returns the device reaches the range no more.

        Raises DeviceError, with ENOENT if this is not exactly one mapping. If it fails for
        another reason the mapping is forgotten all the same.
        """
        wanted = Interval.sized(index(iova), index(size))
        with self._lock:
            mapping = self._book.get(wanted)
            if mapping is None:
                there = self._book.overlapping(wanted)
                raise DeviceError.answered(
                    f"unmapping IOVA {iova:#x}+{size:#x}",
                    errno.ENOENT,
                    f"the mapping there is {there}, and goes as a whole" if there else "",
                )
            try:
                self._unmap(mapping)
            finally:
                self._book.pop(wanted)
                if self._iovas:
                    self._iovas.give(wanted)

    def unmap_all(self) -> None:
        """Undo every map(). Raises DeviceError; the mappings are forgotten all the same."""
        with self._lock:
            try:
                self._unmap_all()
            finally:
                self._book.clear()
                self._iovas = None

    def alloc(
        self,
        size: int,
        *,
        iova: int | None = None,
        huge: Huge | None = None,
        writable: bool = True,
        below: int = IOVA_END,
    ) -> DmaBuffer:
        """New memory of size bytes, zeroed, mapped for the device; the caller closes it.

        At IOVA iova, or where there is room: as low as possible but not at 0, which many
        devices take for "none"; and all of it below an IOVA, for devices with fewer address
        bits. huge has it made of huge pages of that size. The device only reads it if it is
        not writable. Raises DeviceError.
        """
        iova, below = iova if iova is None else index(iova), index(below)
        memory = SharedMemory(size, huge)
        try:
            with self._lock:
                if iova is None:
                    iova = self._room(memory.mapping.size, memory.page, below)
                mapping = DmaMapping(
                    iova,
                    memory.mapping.size,
                    memory.mapping.address,
                    memory.fd,
                    writable=writable,
                )
                self._add(mapping, self._map)
        except BaseException:
            memory.close()
            raise
        memory.close_file()
        return DmaBuffer(memory.mapping, iova, size, lambda: self._free(mapping))

    # Its life.

    def close(self) -> None:
        """Unmap everything and let it go. Idempotent. Buffers may be closed after it.

        In a process that was forked meanwhile nothing is unmapped: it is another's.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    if self._inherited:
                        self._close_files()
                    else:
                        self._close()
                finally:
                    self._book.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What derives from it has its own of these.

    @abstractmethod
    def _map(self, mapping: DmaMapping) -> None:
        """Make a mapping whose IOVAs are free. Raises DeviceError."""

    @abstractmethod
    def _unmap(self, mapping: DmaMapping) -> None:
        """Remove a mapping. Raises DeviceError."""

    def _unmap_all(self) -> None:
        for mapping in self._book:
            self._unmap(mapping)

    def _close(self) -> None:
        """Let everything go that the space has."""
        self._unmap_all()

    def _close_files(self) -> None:  # noqa: B027 - most have none
        """Close the files that the space has, whatever others do with them."""

    def _check(self, mapping: DmaMapping) -> None:
        """Raise DeviceError (EINVAL) for a mapping that there can't be."""
        if mapping.size <= 0 or subtract((mapping.interval,), self.iova_ranges()):
            raise DeviceError.answered(f"mapping {mapping}", errno.EINVAL)

    @property
    def _inherited(self) -> bool:
        """This process was forked from the one that made the space."""
        return os.getpid() != self._pid

    # The book.

    def _add(self, mapping: DmaMapping, enter: Callable[[DmaMapping], None]) -> None:
        what = f"mapping {mapping}"
        with self._lock:
            if self._closed:
                raise DeviceError.answered(what, errno.EBADF, "the DMA space is closed")
            self._check(mapping)
            there = self._book.overlapping(mapping.interval)
            if there:
                raise DeviceError.answered(what, errno.EEXIST, f"{there} is mapped already")
            enter(mapping)
            self._book.add(mapping.interval, mapping)
            if self._iovas:
                self._iovas.take(mapping.interval)

    def _room(self, size: int, page: int, below: int) -> int:
        """Free IOVAs for size bytes of memory with pages of that size."""
        if self._iovas is None:
            ranges = subtract(self.iova_ranges(), (Interval(0, PAGE_SIZE),))
            self._iovas = IovaAllocator(ranges, self._book.intervals)
        iova = self._iovas.find(size, max(page, self.page_size), below=below)
        if iova is None:
            raise DeviceError.answered(
                f"finding {size:#x} bytes of free IOVAs below {below:#x}",
                errno.ENOSPC,
                "unmap something, or ask for less at once",
            )
        return iova

    def _ranges_changed(self) -> None:
        """What iova_ranges() tells is another set from now on."""
        self._iovas = None

    def _free(self, mapping: DmaMapping) -> None:
        """End a buffer's mapping, unless that has ended with all others already."""
        with self._lock:
            if not self._inherited and self._book.get(mapping.interval) is mapping:
                self.unmap(mapping.iova, mapping.size)
