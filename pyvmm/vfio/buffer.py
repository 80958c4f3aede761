# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaBuffer: memory for a device and this process to share, with the IOVA the device knows it by.

The memory is a memfd, so that a device in another process (vfio-user) can map it as well; see
memfd_create(2) and Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import os
from collections.abc import Callable
from operator import index
from typing import Literal

from .errors import DeviceError
from .mapping import PAGE_SIZE, Mapping

Huge = Literal["2M", "1G"]

_MOST = (1 << 63) - (1 << 30)
"""Bytes; a file's size, also rounded up to the largest pages, has 63 bits."""
_HUGE_PAGES = {"2M": (2 << 20, os.MFD_HUGE_2MB), "1G": (1 << 30, os.MFD_HUGE_1GB)}


def page_size(huge: Huge | None) -> int:
    """Bytes of a page of this kind. Raises DeviceError (EINVAL) for a kind there isn't."""
    if huge is None:
        return PAGE_SIZE
    if huge not in _HUGE_PAGES:
        raise DeviceError.answered(
            f"allocating DMA memory of huge pages {huge!r}", errno.EINVAL, "give '2M' or '1G'"
        )
    return _HUGE_PAGES[huge][0]


class SharedMemory:
    """New memory in a memfd, and its mapping in this process. A context manager.

    Its size is sealed: nobody it is shared with can truncate it under us.
    """

    def __init__(self, size: int, huge: Huge | None = None) -> None:
        """size is in bytes, rounded up to whole pages. Raises DeviceError."""
        page = page_size(huge)
        size = index(size)
        what = f"allocating {size:#x} bytes of DMA memory"
        if not 0 < size <= _MOST:
            raise DeviceError.answered(what, errno.EINVAL, "ask for a byte or more, below 2**63")
        size = -(-size // page) * page
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        if huge:
            what += f" in pages of {huge}"
            flags |= os.MFD_HUGETLB | _HUGE_PAGES[huge][1]
        self.page = page
        self.fd = -1
        call = "memfd_create"
        try:
            self.fd = os.memfd_create("dma", flags)
            call = "ftruncate"
            os.ftruncate(self.fd, size)
            call = "F_ADD_SEALS"
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
            self.mapping = Mapping(self.fd, 0, size, what=what)
        except OSError as error:
            self.close_file()
            raise _failed(f"{what}: {call}", error.errno, page, size) from None
        except DeviceError as error:
            self.close_file()
            raise _failed(f"{what}: mmap", error.errno, page, size) from None

    def close_file(self) -> None:
        """The memory stays, by its mapping."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        self.close_file()
        self.mapping.close()

    def __enter__(self) -> SharedMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _failed(doing: str, number: int | None, page: int, size: int) -> DeviceError:
    cures = {
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
        errno.ENOMEM: "ask for less, or raise the limit on memory (ulimit -v)",
    }
    if page != PAGE_SIZE:
        pool = f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB"
        need = size // page
        free = _free_pages(pool)
        cures[errno.ENOMEM] = (
            f"it takes {need} free pages and there are {free}: "
            f"echo {need - free} more than there are into {pool}/nr_hugepages"
        )
        cures[errno.ENODEV] = cures[errno.ENOENT] = "this host has no huge pages of that size"
    return DeviceError.answered(doing, number, cures.get(number or 0, ""))


def _free_pages(pool: str) -> int:
    try:
        with open(f"{pool}/free_hugepages") as file:
            return int(file.read())
    except OSError:
        return 0


class DmaSlice:
    """Part of a buffer: the bytes as this process sees them, and where the device finds them.

    `buf[0x40:0x80]` and `buf.slice(0x40, 0x40)` are slices of it, with their own IOVA.
    """

    def __init__(self, memory: Mapping, offset: int, iova: int, size: int) -> None:
        """The size bytes from offset of the memory are at iova."""
        self._memory = memory
        self._offset = offset
        self.iova = iova
        self.size = size
        self.address = memory.address + offset
        """Host-virtual, in this process."""

    @property
    def view(self) -> memoryview:
        """The bytes. Raises ValueError once the buffer is closed."""
        return self._memory.view[self._offset : self._offset + self.size]

    def slice(self, offset: int, size: int) -> DmaSlice:
        """The size bytes from offset, all of which it must have. Raises ValueError."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"{offset:#x}+{size:#x} is not within {self}")
        return DmaSlice(self._memory, self._offset + offset, self.iova + offset, size)

    def __getitem__(self, part: builtins.slice) -> DmaSlice:
        """As for bytes, `buf[-4:]` included, but bytes that aren't there raise ValueError."""
        if not isinstance(part, builtins.slice) or part.step not in (None, 1):
            raise TypeError("a DMA buffer is sliced by [start:end]; its bytes are in .view")
        start = 0 if part.start is None else part.start
        end = self.size if part.stop is None else part.stop
        start = start + self.size if start < 0 else start
        end = end + self.size if end < 0 else end
        return self.slice(start, end - start)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"{type(self).__name__}(iova={self.iova:#x}, size={self.size:#x})"


class DmaBuffer(DmaSlice):
    """Owns its memory and its mapping in the DMA space. A context manager."""

    def __init__(self, memory: Mapping, iova: int, size: int, unmap: Callable[[], None]) -> None:
        """unmap() ends the device's access; the memory is let go after it."""
        super().__init__(memory, 0, iova, size)
        self._unmap: Callable[[], None] | None = unmap

    def close(self) -> None:
        """End the device's access, then let the memory go. Idempotent.

        Views that are held keep the bytes, for this process alone.
        """
        unmap, self._unmap = self._unmap, None
        if unmap:
            try:
                unmap()
            finally:
                self._memory.close()

    def __enter__(self) -> DmaBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
