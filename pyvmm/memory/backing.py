# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Host memory for guests: a shared memfd, of small, transparent huge or hugetlb pages; or private.

Shared, so that another process (a vfio-user server) can map the very same pages; a memfd, so
that there is a file descriptor to hand to it. Private memory can't be shared, and most hosts have
transparent huge pages for it alone, with which a guest takes a fraction of the page faults. See
memfd_create(2), madvise(2) and Documentation/admin-guide/mm/{hugetlbpage,transhuge}.rst.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress

from .errors import GuestMemoryError, OutOfHostMemory

PRIVATE = "private"
SHARED = "shared"
THP = "thp"
HUGETLB_2M = "hugetlb-2M"
HUGETLB_1G = "hugetlb-1G"

BACKINGS = (PRIVATE, SHARED, THP, HUGETLB_2M, HUGETLB_1G)

_MFD_HUGETLB = {
    HUGETLB_2M: os.MFD_HUGETLB | os.MFD_HUGE_2MB,
    HUGETLB_1G: os.MFD_HUGETLB | os.MFD_HUGE_1GB,
}
_HUGE_SIZE = {HUGETLB_2M: 2 << 20, HUGETLB_1G: 1 << 30}
_THP_SIZE = 2 << 20

_MAP_NORESERVE = 0x4000  # Python has it since 3.13


class Backing:
    """Owns a mapping, and its memfd: fd, which is -1 for private memory.

    size is in bytes, rounded up to whole pages of its kind. Raises GuestMemoryError, which is
    OutOfHostMemory where that is what the host lacks.
    """

    def __init__(self, name: str, size: int, kind: str = SHARED) -> None:
        page = _HUGE_SIZE.get(kind, mmap.PAGESIZE)
        self.size = -(-size // page) * page
        self.kind = kind
        _check_fits(self.size, page, kind)
        self.fd = -1
        self._closed = False
        call = "mmap"
        try:
            if kind == PRIVATE:
                # As much more as it takes to have the rest begin with a huge page.
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
                self._map = mmap.mmap(-1, self.size + _THP_SIZE, flags=flags)
            else:
                call = "memfd_create"
                flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_HUGETLB.get(kind, 0)
                self.fd = os.memfd_create(name, flags)
                call = "ftruncate"
                os.ftruncate(self.fd, self.size)
                call = "F_ADD_SEALS"
                _seal_size(self.fd)
                call = "mmap"
                self._map = mmap.mmap(self.fd, self.size, flags=mmap.MAP_SHARED)
        except OSError as error:
            if self.fd >= 0:
                os.close(self.fd)
            raise _failed(f"getting {self.size >> 10} KiB of {kind} memory", call, error) from None
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        skipped = 0
        if kind in (PRIVATE, THP):
            with suppress(OSError):  # a kernel without them
                self._map.madvise(mmap.MADV_HUGEPAGE)
        if kind == PRIVATE:
            skipped = -start % _THP_SIZE
            # A child process is no reason to copy what a device has pinned.
            self._map.madvise(mmap.MADV_DONTFORK)
        # RAM of a guest is not what one looks for in a core dump of the VMM.
        self._map.madvise(mmap.MADV_DONTDUMP)
        self.address = start + skipped
        self.buffer = memoryview(self._map)[skipped : skipped + self.size]

    def close(self) -> None:
        """Unmap and close. Views that are still held keep the mapping until they are gone."""
        if self._closed:
            return
        self._closed = True
        fd, self.fd = self.fd, -1
        self.buffer.release()
        # Where somebody still looks at a slice, the mapping goes when that one does.
        with suppress(BufferError):
            self._map.close()
        if fd >= 0:
            os.close(fd)


def _failed(doing: str, call: str, error: OSError) -> GuestMemoryError:
    import errno

    from ..uapi.ioctl import failure

    number = error.errno or 0
    cures = {
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
        errno.ENOMEM: "give the guest less memory, or raise the limit on it (ulimit -v)",
    }
    text = failure(doing, call, number, cures.get(number, ""))
    if number in (errno.ENOMEM, errno.ENOSPC, errno.EFBIG):
        return OutOfHostMemory(text)
    return GuestMemoryError(text)


def thp_enabled() -> bool:
    """Whether this host gives shared memory transparent huge pages, when asked by madvise()."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled") as file:
            return not {"[never]", "[deny]"} & set(file.read().split())
    except OSError:
        return False


def _seal_size(fd: int) -> None:
    """Nobody, a vfio-user server least of all, may shrink guest RAM, or add seals of their own."""
    import fcntl

    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)


def _check_fits(size: int, page: int, kind: str) -> None:
    free = _free_huge_pages(page) if kind in _HUGE_SIZE else 0
    need = size // page
    if free >= need:
        return
    total = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    if size > total:  # which no reservation of huge pages changes
        raise OutOfHostMemory(
            f"{size >> 20} MiB of guest RAM are more than the host's {total >> 20} MiB: "
            "give the guest less memory"
        )
    if kind in _HUGE_SIZE:
        from .._counted import counted

        raise OutOfHostMemory(
            f"{size >> 20} MiB of hugetlb memory need {counted(need, 'free page')} of "
            f"{page >> 20} MiB, the host has {free}: echo {need - free} more into "
            f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB/nr_hugepages"
        )


def _free_huge_pages(page: int) -> int:
    try:
        with open(f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB/free_hugepages") as file:
            return int(file.read())
    except OSError:
        return 0
