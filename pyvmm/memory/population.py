# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Population: has all of guest RAM there before a device pins it, by all processors at once.

VFIO_IOMMU_MAP_DMA pins every page, and gets and zeroes those that aren't there yet: on the one
thread that calls it. MADV_POPULATE_WRITE, see madvise(2), does that part for a range, on as many
threads as there are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading

from .errors import GuestMemoryError, OutOfHostMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .region import MemoryRegion

_MADV_POPULATE_WRITE = 23  # Python has no name for it
_SLICE = 4 << 20
"""Bytes for one call. While it runs nobody in this process can map anything, or unmap it."""
_MOST_THREADS = 16
"""More of them wait for the kernel's locks, and for memory."""

_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Population:
    """Populates regions from when it is made; a context manager, at whose end its threads are.

    wait() is for whoever needs the pages there. One thread alone is no quicker than who pins
    them, so that there is none then, unless even_alone says that nobody does.
    """

    def __init__(
        self,
        regions: Iterable[MemoryRegion],
        threads: int | None = None,
        *,
        even_alone: bool = False,
    ) -> None:
        """threads is how many there may be; None: one for each processor."""
        self._slices = [
            (region.host + offset, min(_SLICE, region.size - offset))
            for region in regions
            for offset in range(0, region.size, _SLICE)
        ]
        self._slices.reverse()
        self._failed = 0
        if threads is None:
            threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        threads = min(threads, len(self._slices))
        self._threads: list[threading.Thread] = []
        if threads < 2 and not even_alone:
            return
        try:
            for number in range(threads):
                thread = threading.Thread(target=self._populate, name=f"populate {number}")
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            pass  # no more threads for us: then fewer do it

    def _populate(self) -> None:
        while not self._failed:
            try:
                address, size = self._slices.pop()
            except IndexError:
                return
            if _madvise(address, size, _MADV_POPULATE_WRITE):
                self._failed = ctypes.get_errno()

    def wait(self) -> bool:
        """Return when all pages are there; False if they are not to be had so, here.

        Raises GuestMemoryError, which is OutOfHostMemory where that is what the host lacks.
        """
        self._join()
        number = self._failed
        # A kernel that doesn't know it (before 5.14), or a filter of system calls.
        if number in (0, errno.EINVAL, errno.ENOSYS, errno.EPERM):
            return not number and not self._slices
        from ..uapi.ioctl import failure

        # EFAULT: a touch would have been SIGBUS, for lack of huge pages most of all.
        lacking = number in (errno.ENOMEM, errno.EFAULT)
        cure = "give the guest less memory" if lacking else ""
        text = failure("populating guest RAM", "madvise(MADV_POPULATE_WRITE)", number, cure)
        raise OutOfHostMemory(text) if lacking else GuestMemoryError(text)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Population:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, done or not."""
        self._slices.clear()
        self._join()
