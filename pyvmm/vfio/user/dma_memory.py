# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kinds of memory of this host behind a software device's IOVAs, accessed by offset.

Which kind is a matter of safety. A peer may truncate the file it gave us, and touching a
mapped page that is gone is SIGBUS, the death of the process. So a file is mapped only if it is
sealed against shrinking (F_SEAL_SHRINK: guest RAM of pyvmm, and QEMU's memory-backend-memfd);
any other is read and written with pread(2) and pwrite(2), which fail in order. Left over are
unsealed hugetlbfs files: they can't be written so, and are mapped all the same.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from typing import Protocol

from ..errors import DeviceError, DmaFault
from ..mapping import PAGE_SIZE, Mapping, check_size


class Memory(Protocol):
    """Backs one mapping. Offsets and sizes have been checked against it."""

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes | memoryview) -> None: ...

    def view(self, offset: int, size: int) -> memoryview | None: ...

    def close(self) -> None: ...


class PagesMemory:
    """Pages of a file, mapped."""

    def __init__(self, fd: int, offset: int, size: int, writable: bool, what: str) -> None:
        start = offset & -PAGE_SIZE
        self._mapping = Mapping(fd, start, offset + size - start, writable=writable, what=what)
        self._view: memoryview | None = self._mapping.view[offset - start :]

    def read(self, offset: int, size: int) -> bytes:
        assert self._view is not None
        return bytes(self._view[offset : offset + size])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        assert self._view is not None
        self._view[offset : offset + len(data)] = data

    def view(self, offset: int, size: int) -> memoryview | None:
        assert self._view is not None
        return self._view[offset : offset + size]

    def close(self) -> None:
        self._view = None
        self._mapping.close()


class FileMemory:
    """A file that its owner might truncate at any time: accessed by system calls."""

    def __init__(self, fd: int, offset: int, iova: int) -> None:
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        self._offset = offset
        self._iova = iova

    def read(self, offset: int, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                piece = os.pread(self._fd, size - len(data), self._offset + offset + len(data))
            except OSError as e:
                raise self._fault(offset, size, e) from None
            if not piece:
                raise DmaFault(self._iova + offset, size, "its file has been truncated")
            data += piece
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        # A write beyond the end of a truncated file makes it longer again: no harm to us.
        left = memoryview(data)
        while left:
            try:
                at = self._offset + offset + len(data) - len(left)
                left = left[os.pwrite(self._fd, left, at) :]
            except OSError as e:
                raise self._fault(offset, len(data), e) from None

    def _fault(self, offset: int, size: int, error: OSError) -> DmaFault:
        return DmaFault(self._iova + offset, size, os.strerror(error.errno or 0))

    def view(self, offset: int, size: int) -> memoryview | None:
        return None

    def close(self) -> None:
        os.close(self._fd)


class HostMemory:
    """Memory of this process at an address; whoever mapped it keeps it until unmap."""

    def __init__(self, address: int, size: int) -> None:
        self._view = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._view[offset : offset + size])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._view[offset : offset + len(data)] = data

    def view(self, offset: int, size: int) -> memoryview | None:
        return None  # it could outlive the memory

    def close(self) -> None:
        pass


def open_file(
    fd: int, offset: int, iova: int, size: int, *, readable: bool, writable: bool
) -> Memory:
    """The safest kind for part of a file. Raises DeviceError if the file isn't fit for it."""
    what = f"mapping IOVA {iova:#x}+{size:#x}"
    check_size(fd, offset + size, what)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise DeviceError.answered(what, errno.EINVAL, "DMA memory must be a regular file or memfd")
    if not _sealed(fd) and not (writable and _is_hugetlb(fd)):
        access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        if (readable and access == os.O_WRONLY) or (writable and access == os.O_RDONLY):
            raise DeviceError.answered(what, errno.EACCES)
        return FileMemory(fd, offset, iova)
    return PagesMemory(fd, offset, size, writable, what)


def _sealed(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:  # a file system without seals
        return False


def _is_hugetlb(fd: int) -> bool:
    try:
        os.pwrite(fd, b"", 0)
    except OSError as e:  # hugetlbfs has no write(2) at all
        return e.errno == errno.EINVAL
    return False
