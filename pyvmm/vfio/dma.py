# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaSpace: the IOVAs a device's DMA can reach, whatever it is that translates them."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from .errors import DeviceError
from .intervals import Interval

Check = Callable[[int, int], None]
"""check(iova, size) raises DmaFault if the device may not do that DMA any more."""


class RemoteMemory(Protocol):
    """Memory in another process, reached by messages, each of max_size bytes at most.

    The check comes last before a message is sent, with nothing in between: what is sent to the
    same process after the check would have failed comes after it. Both raise DmaFault.
    """

    max_size: int

    def read(self, iova: int, size: int, check: Check) -> bytes: ...

    def write(self, iova: int, data: bytes | memoryview, check: Check) -> None: ...


class DmaSpace(ABC):
    """An IO address space: type1 container, iommufd IOAS, vfio-user peer or DmaTable.

    Mappings are made and removed whole: unmap() takes exactly what a map() was given.
    """

    @property
    @abstractmethod
    def page_sizes(self) -> int:
        """Bitmap of the page sizes it maps; the lowest is the granularity of map()."""

    @abstractmethod
    def iova_ranges(self) -> tuple[Interval, ...]:
        """The IOVAs that may be mapped at all."""

    @abstractmethod
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

    def _check(self, iova: int, size: int) -> str:
        """What mapping these IOVAs is called in errors, which it raises if it can't be."""
        what = f"mapping IOVA {iova:#x}+{size:#x}"
        wanted = Interval.sized(iova, size)
        if size <= 0 or not any(usable.covers(wanted) for usable in self.iova_ranges()):
            raise DeviceError.answered(what, errno.EINVAL)
        return what

    def _check_memory(self, iova: int, size: int, address: int, fd: int) -> str:
        """As _check(), with the memory that is to be mapped there."""
        what = self._check(iova, size)
        if fd < 0 and not address:
            raise DeviceError.answered(what, errno.EINVAL, "there is neither memory nor a file")
        return what

    def map_remote(
        self,
        iova: int,
        size: int,
        memory: RemoteMemory,
        *,
        readable: bool = True,
        writable: bool = True,
    ) -> None:
        """Let the device reach memory of another process, by messages to it.

        Only a device in software can: others raise DeviceError (EOPNOTSUPP).
        """
        raise DeviceError.answered(
            f"mapping IOVA {iova:#x}+{size:#x} without a file",
            errno.EOPNOTSUPP,
            "give the guest shared memory (memfd)",
        )

    @abstractmethod
    def unmap(self, iova: int, size: int) -> None:
        """Undo map(); when it returns the device reaches the range no more.

        Raises DeviceError, with ENOENT if this is not exactly one mapping.
        """
