# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mapping: part of a file mapped into this process, whose pages outlive no use of them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import weakref

from .errors import DeviceError

PAGE_SIZE = mmap.PAGESIZE

_HUGE = (2 << 20, 1 << 30)
"""Sizes of huge pages: the smallest and the largest."""

# What Python's mmap doesn't name.
_PROT_NONE = 0
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def check_size(fd: int, end: int, what: str) -> None:
    """Make sure that a regular file holds `end` bytes, so that touching them can't be SIGBUS.

    Other files (a VFIO device, a dma-buf) have no size to compare: there the kernel bounds
    the mmap itself. Raises DeviceError (EINVAL, EBADF).
    """
    try:
        status = os.fstat(fd)
    except OSError as e:
        raise DeviceError.answered(f"{what}: fstat", e.errno) from None
    if stat.S_ISREG(status.st_mode) and end > status.st_size:
        raise DeviceError.answered(
            f"{what}: needs {end:#x} bytes of a file that has {status.st_size:#x}", errno.EINVAL
        )


def huge_alignment(size: int) -> int:
    """The alignment with which size bytes of a device can have the largest pages there are.

    A BAR lies at a multiple of its size. Smaller than a huge page it has no use for any.
    """
    if size < _HUGE[0]:
        return PAGE_SIZE
    return min(1 << size.bit_length() - 1, _HUGE[-1])


def _reserve(size: int, alignment: int, skew: int, what: str) -> int:
    """Addresses for size bytes, the first of which is skew modulo alignment. Raises DeviceError."""
    room = size + alignment
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    start: int = _mmap(None, room, _PROT_NONE, flags, -1, 0)
    if start == _FAILED:
        raise DeviceError.answered(f"{what}: mmap", ctypes.get_errno())
    address = start + (skew - start) % alignment
    if address > start:
        _munmap(start, address - start)
    if start + room > address + size:
        _munmap(address + size, start + room - (address + size))
    return address


class Mapping:
    """Bytes of a shared file, mapped (mmap(2)); a context manager.

    The pages stay mapped while a view of them is in use, also after close(): a view can be
    too late, never dangling. What no mapping can prevent: the file's owner truncating it
    under us. Then a KVM guest's access ends KVM_RUN with EFAULT, but this process dies of
    SIGBUS if it touches the view itself. Only a file sealed with F_SEAL_SHRINK is safe.
    """

    def __init__(
        self,
        fd: int,
        offset: int,
        size: int,
        *,
        writable: bool = True,
        what: str = "mapping",
        alignment: int = PAGE_SIZE,
        skew: int = 0,
    ) -> None:
        """Map size bytes from offset, a multiple of the page size; `what` is for errors.

        The address is skew modulo alignment, a power of two and at least a page: the kernel uses
        huge pages only where both ends of a mapping have the same alignment. Raises DeviceError.
        """
        if size <= 0 or offset < 0 or offset % PAGE_SIZE or offset + size > 1 << 63:
            raise DeviceError.answered(
                f"{what}: offset {offset:#x} and size {size:#x} are not whole pages of a file",
                errno.EINVAL,
            )
        check_size(fd, offset + size, what)
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        place, flags = None, mmap.MAP_SHARED
        if alignment > PAGE_SIZE:
            place, flags = _reserve(size, alignment, skew, what), flags | _MAP_FIXED
        address = _mmap(place, size, prot, flags, fd, offset)
        if address == _FAILED:
            number = ctypes.get_errno()
            if place is not None:
                _munmap(place, size)
            raise DeviceError.answered(f"{what}: mmap", number)
        self.address: int = address
        self.size = size
        self.writable = writable
        # Every view, and every slice of one, holds a reference to this array; so the array's
        # end is the end of all use, and the moment to unmap.
        pages = (ctypes.c_ubyte * size).from_address(address)
        self._pages: ctypes.Array[ctypes.c_ubyte] | None = pages
        unmap = weakref.finalize(pages, _munmap, address, size)
        unmap.atexit = False

    @property
    def view(self) -> memoryview:
        """The bytes, read-only if they were mapped so. Raises ValueError once closed."""
        if self._pages is None:
            raise ValueError("view of a closed mapping")
        view = memoryview(self._pages).cast("B")
        return view if self.writable else view.toreadonly()

    def close(self) -> None:
        """Let go. The pages are unmapped now, or with the last view that is in use."""
        self._pages = None

    def __enter__(self) -> Mapping:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
