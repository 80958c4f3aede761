# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kinds of memory of this host behind a software device's IOVAs, accessed by offset.

Which kind is a matter of safety. A peer may truncate the file it gave us, and touching a
mapped page that is gone is SIGBUS, the death of the process. So a file is mapped only if it is
sealed against shrinking (F_SEAL_SHRINK: guest RAM of pyvmm, and QEMU's memory-backend-memfd);
any other is read and written with pread(2) and pwrite(2), which fail in order. Of hugetlbfs no
seal keeps pages from vanishing, and write(2) is not for it: there the kernel copies for us.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import sys
from typing import Protocol

from ..errors import DeviceError, DmaFault
from ..mapping import PAGE_SIZE, Mapping, check_size
from ..passed_fds import close_passed
from ..passed_files import check_local
from . import own_memory

_HUGETLBFS_MAGIC = 0x958458F6  # <linux/magic.h>
_fstatfs = ctypes.CDLL(None).fstatfs


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

    def __init__(self, fd: int, offset: int, iova: int, what: str) -> None:
        try:
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError as e:
            cure = "raise the limit of open files (ulimit -n), or seal the memfd (F_SEAL_SHRINK)"
            raise DeviceError.answered(f"{what}: fcntl", e.errno, cure) from None
        self._offset = offset
        self._iova = iova

    def read(self, offset: int, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                piece = os.pread(self._fd, size - len(data), self._offset + offset + len(data))
            except OSError as e:
                raise _fault(self._iova + offset, size, e) from None
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
                raise _fault(self._iova + offset, len(data), e) from None

    def view(self, offset: int, size: int) -> memoryview | None:
        return None

    def close(self) -> None:
        close_passed((self._fd,))


class HostMemory:
    """Memory of this process at an address; whoever mapped it keeps it until unmap.

    It is not touched but copied by the kernel: it may be huge pages whose file a peer has too.
    """

    def __init__(self, address: int, iova: int) -> None:
        self._address = address
        self._iova = iova

    def read(self, offset: int, size: int) -> bytes:
        try:
            return own_memory.read(self._address + offset, size)
        except OSError as e:
            raise _fault(self._iova + offset, size, e) from None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        try:
            own_memory.write(self._address + offset, data)
        except OSError as e:
            raise _fault(self._iova + offset, len(data), e) from None

    def view(self, offset: int, size: int) -> memoryview | None:
        return None  # it could outlive the memory, or be SIGBUS

    def close(self) -> None:
        pass


class HugeMemory(HostMemory):
    """Pages of a file of hugetlbfs, mapped."""

    def __init__(self, fd: int, offset: int, iova: int, size: int, what: str) -> None:
        page = os.fstat(fd).st_blksize  # it maps, and unmaps, whole pages of its own only
        start, end = offset & -page, (offset + size + page - 1) & -page
        self._mapping = Mapping(fd, start, end - start, what=what)
        super().__init__(self._mapping.address + offset - start, iova)

    def close(self) -> None:
        self._mapping.close()


def open_file(
    fd: int, offset: int, iova: int, size: int, *, readable: bool, writable: bool
) -> Memory:
    """The safest kind for part of a file. Raises DeviceError if the file isn't fit for it."""
    what = f"mapping IOVA {iova:#x}+{size:#x}"
    check_local(fd, what)
    check_size(fd, offset + size, what)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise DeviceError.answered(what, errno.EINVAL, "DMA memory must be a regular file or memfd")
    if writable and _is_hugetlb(fd):
        return HugeMemory(fd, offset, iova, size, what)
    if _sealed(fd) and not _is_hugetlb(fd):
        return PagesMemory(fd, offset, size, writable, what)
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    if (readable and access == os.O_WRONLY) or (writable and access == os.O_RDONLY):
        raise DeviceError.answered(what, errno.EACCES)
    return FileMemory(fd, offset, iova, what)


def _fault(iova: int, size: int, error: OSError) -> DmaFault:
    return DmaFault(iova, size, os.strerror(error.errno or 0))


def _sealed(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:  # a file system without seals
        return False


def _is_hugetlb(fd: int) -> bool:
    status = ctypes.create_string_buffer(256)  # more than a struct statfs, which begins with f_type
    _fstatfs(fd, status)
    return int.from_bytes(status.raw[:8], sys.byteorder) == _HUGETLBFS_MAGIC
