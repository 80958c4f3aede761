# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PhysicalMemory: memory that stays where it is, for DMA without an IOMMU.

Its address is asked of /proc/self/pagemap; see Documentation/admin-guide/mm/pagemap.rst. Locked
memory (mlock(2)) isn't swapped out, but may still be moved: compaction does. What it can't move
is a page with a reference it doesn't know of, and a page in a pipe has one (vmsplice(2)).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from ..buffer import Huge, SharedMemory
from ..errors import DeviceError
from ..mapping import PAGE_SIZE, Mapping
from .locked_memory import why_no_memory

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.vmsplice.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
_libc.vmsplice.restype = ctypes.c_ssize_t

_PAGEMAP = "/proc/self/pagemap"
_ENTRY = struct.Struct("=Q")
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class PhysicalMemory:
    """Owns memory at one run of host-physical addresses."""

    def __init__(self, size: int, huge: Huge | None = None) -> None:
        """size is in bytes. More than a page of it takes huge pages, which it chooses by itself.

        Raises DeviceError.
        """
        if huge is None and size > PAGE_SIZE:
            huge = "2M"
        what = f"allocating {size:#x} bytes of memory for DMA without an IOMMU"
        self._pipe: tuple[int, int] | None = None
        memory = SharedMemory(size, huge)
        memory.close_file()
        self.mapping: Mapping = memory.mapping
        try:
            self._lock(what)
            self._pin(what, memory.page)
            self.address = self._place(what, memory.page)
        except BaseException:
            self.close()
            raise

    def _lock(self, what: str) -> None:
        if _libc.mlock(self.mapping.address, self.mapping.size):
            number = ctypes.get_errno()
            raise DeviceError.answered(f"{what}: mlock", number, why_no_memory(self.mapping.size))

    def _pin(self, what: str, page: int) -> None:
        """Have the pipe hold a byte of each page, and with it the page."""
        count = self.mapping.size // page
        pieces = (_IoVec * count)(
            *(_IoVec(self.mapping.address + number * page, 1) for number in range(count))
        )
        try:
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            cure = "raise the limit on open files (ulimit -n)"
            raise DeviceError.answered(f"{what}: pipe2", error.errno, cure) from None
        try:
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, count * PAGE_SIZE)
        except OSError as error:
            cure = "ask for less, in larger pages"
            raise DeviceError.answered(f"{what}: F_SETPIPE_SZ", error.errno, cure) from None
        held = _libc.vmsplice(self._pipe[1], ctypes.addressof(pieces), count, os.SPLICE_F_NONBLOCK)
        if held != count:
            number = ctypes.get_errno() if held < 0 else errno.EAGAIN
            raise DeviceError.answered(f"{what}: vmsplice", number)

    def _place(self, what: str, page: int) -> int:
        places = [
            self._physical(self.mapping.address + offset, what)
            for offset in range(0, self.mapping.size, page)
        ]
        if any(at != places[0] + number * page for number, at in enumerate(places)):
            raise DeviceError.answered(
                what, errno.ENOMEM, "its pages are not in one run: ask for less, or for huge='1G'"
            )
        return places[0]

    def _physical(self, address: int, what: str) -> int:
        try:
            with open(_PAGEMAP, "rb", buffering=0) as pagemap:
                entry = os.pread(pagemap.fileno(), _ENTRY.size, address // PAGE_SIZE * _ENTRY.size)
        except OSError as error:
            cure = "it takes a /proc with pagemap (CONFIG_PROC_PAGE_MONITOR), and a free descriptor"
            raise DeviceError.answered(f"{what}: {_PAGEMAP}", error.errno, cure) from None
        (bits,) = _ENTRY.unpack(entry)
        if not bits & _PRESENT:
            raise DeviceError.answered(what, errno.EFAULT, "the page has no memory")
        if not bits & _FRAME:
            cure = "run as root: only CAP_SYS_ADMIN may know physical addresses"
            raise DeviceError.answered(f"{what}: {_PAGEMAP}", errno.EPERM, cure)
        return int(bits & _FRAME) * PAGE_SIZE

    def close(self) -> None:
        """Idempotent."""
        pipe, self._pipe = self._pipe, None
        for fd in pipe or ():
            os.close(fd)
        self.mapping.close()
