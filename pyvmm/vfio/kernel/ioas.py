# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Ioas: the DMA space of iommufd, for devices that are opened by their own files.

See Documentation/userspace-api/iommufd.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterable

from ...uapi import iommufd as uapi
from ..dirty import DirtyTracking
from ..dma import IOVA_END, DmaMapping
from ..errors import DeviceError
from ..host import HostFunction, IommuGroup
from ..intervals import Interval, Intervals, merge
from ..mapping import PAGE_SIZE
from .cdev import Cdev, function_of
from .device import KernelDevice
from .hwpts import Hwpts
from .iommufd import Iommufd
from .opening import parse_token
from .space import KernelSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID

_NO_FILES = (errno.ENOTTY, errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP)
"""What IOMMU_IOAS_MAP_FILE answers if the kernel, or it for such a file, can't."""


class Ioas(KernelSpace):
    """An IO address space object. Mappings need no device, and outlive it."""

    backend = "iommufd"

    def __init__(self, iommufd: Iommufd | None = None, *, root: str = "/") -> None:
        """In an iommufd of its own, or in one that its owner closes later.

        Raises HostDeviceUnavailable, DeviceError.
        """
        super().__init__(root)
        self._owns = iommufd is None
        self.iommufd = iommufd or Iommufd(root=root)
        self._groups: list[IommuGroup] = []
        self._told: tuple[Intervals, int] | None = None
        try:
            self.id = self.iommufd.alloc_ioas()
        except BaseException:
            if self._owns:
                self.iommufd.close()
            raise
        self.name = f"IOAS {self.id}"
        self._hwpts = Hwpts(self.iommufd, self.id)

    # What it is.

    @property
    def page_sizes(self) -> int:
        """As far as iommufd tells: all that are multiples of the alignment it asks for."""
        return (IOVA_END - 1) & -max(self._ask()[1], PAGE_SIZE)

    def iova_ranges(self) -> Intervals:
        return self._ask()[0]

    @property
    def dirty(self) -> DirtyTracking | None:
        return self._hwpts.dirty

    @property
    def huge_pages(self) -> bool:
        """Whether the IOMMU may use huge pages for it; to be set before anything is mapped."""
        return self.iommufd.huge_pages(self.id)

    @huge_pages.setter
    def huge_pages(self, value: bool) -> None:
        self.iommufd.set_huge_pages(self.id, value)

    def allow_iovas(self, ranges: Iterable[Interval]) -> None:
        """Keep these IOVAs mappable; devices that would take away some can't join any more.

        Raises DeviceError.
        """
        entries = [uapi.iommu_iova_range(i.start, i.end - 1) for i in merge(ranges)]
        table = (uapi.iommu_iova_range * len(entries))(*entries)
        request = uapi.iommu_ioas_allow_iovas(
            ioas_id=self.id, num_iovas=len(entries), allowed_iovas=ctypes.addressof(table)
        )
        doing = f"keeping IOVAs of {self.name} mappable"
        with self._lock:
            self.iommufd.call("IOMMU_IOAS_ALLOW_IOVAS", request, doing)
            self._ranges_changed()

    def _ask(self) -> tuple[Intervals, int]:
        """The IOVA ranges, and the alignment that mappings need; asked anew when they change."""
        with self._lock:
            if self._told is None:
                self._told = self._ask_kernel()
            return self._told

    def _ranges_changed(self) -> None:
        super()._ranges_changed()
        self._told = None

    def _ask_kernel(self) -> tuple[Intervals, int]:
        size = 16
        doing = f"asking {self.name} for its IOVA ranges"
        while True:
            table = (uapi.iommu_iova_range * size)()
            request = uapi.iommu_ioas_iova_ranges(
                ioas_id=self.id, num_iovas=size, allowed_iovas=ctypes.addressof(table)
            )
            try:
                self.iommufd.call("IOMMU_IOAS_IOVA_RANGES", request, doing)
            except DeviceError as error:
                if error.errno != errno.EMSGSIZE or request.num_iovas <= size:
                    raise
                size = request.num_iovas
                continue
            found = [Interval(entry.start, entry.last + 1) for entry in table[: request.num_iovas]]
            return merge(found), int(request.out_iova_alignment)

    # Devices.

    def open_fd(self, fd: int, *, vf_token: UUID | str | None = None) -> KernelDevice:
        """Open the device whose cdev somebody else has opened; they may close their fd then.

        It has not been bound through it before. Raises HostDeviceUnavailable, VfioError.
        """
        token = parse_token(vf_token)
        function = function_of(fd, root=self.root)
        return self._open(function.bdf, lambda: self._bind(Cdev(function, fd), token))

    def _join(
        self, function: HostFunction, vf_token: UUID | None
    ) -> tuple[int, int, Callable[[], None]]:
        return self._bind(Cdev(function), vf_token)

    def _bind(self, cdev: Cdev, vf_token: UUID | None) -> tuple[int, int, Callable[[], None]]:
        try:
            group = IommuGroup.of(cdev.function)
            self._check_room(group)
            device = cdev.bind(self.iommufd.fileno(), vf_token)
            leave = self._hwpts.attach(cdev, device)
        except BaseException:
            cdev.close()
            raise
        self._groups.append(group)

        def left() -> None:
            self._groups.remove(group)
            leave()

        fd = cdev.take()
        return fd, fd, left

    def _groups_here(self) -> tuple[IommuGroup, ...]:
        return tuple(self._groups)

    # Mapping.

    def map_bar(
        self,
        iova: int,
        device: KernelDevice,
        index: int,
        area: Interval,
        *,
        writable: bool = True,
    ) -> None:
        # A dma-buf, which the kernel empties when the device is reset or closed.
        fd = device.features.dma_buf(index, [area], writable=writable)
        try:
            self.map(iova, area.size, address=0, fd=fd, writable=writable)
        finally:
            os.close(fd)

    def _map_memory(self, mapping: DmaMapping) -> None:
        if mapping.fd >= 0 and self._map_file(mapping):
            return
        request = uapi.iommu_ioas_map(
            flags=_flags(mapping),
            ioas_id=self.id,
            user_va=self._address(mapping),
            length=mapping.size,
            iova=mapping.iova,
        )
        try:
            self.iommufd.call("IOMMU_IOAS_MAP", request, f"mapping {mapping}")
        except BaseException:
            self._let_file_go(mapping.iova)
            raise

    def _map_file(self, mapping: DmaMapping) -> bool:
        """Map memory as part of its file, without this process's addresses, if that can be.

        The kernel pins a file's folios at once, and finds them without page tables of ours.
        """
        request = uapi.iommu_ioas_map_file(
            flags=_flags(mapping),
            ioas_id=self.id,
            fd=mapping.fd,
            start=mapping.offset,
            length=mapping.size,
            iova=mapping.iova,
        )
        try:
            self.iommufd.call("IOMMU_IOAS_MAP_FILE", request, f"mapping {mapping}")
        except DeviceError as error:
            if error.errno in _NO_FILES:
                return False
            raise
        return True

    def _unmap(self, mapping: DmaMapping) -> None:
        try:
            self._unmap_range(mapping.iova, mapping.size, f"unmapping {mapping}")
        finally:
            self._let_file_go(mapping.iova)

    def _unmap_all(self) -> None:
        try:
            if self.mappings:  # it is ENOENT to older kernels if there are none
                self._unmap_range(0, IOVA_END - 1, f"unmapping everything in {self.name}")
        finally:
            for iova in list(self._files):
                self._let_file_go(iova)

    def _unmap_range(self, iova: int, size: int, doing: str) -> None:
        request = uapi.iommu_ioas_unmap(ioas_id=self.id, iova=iova, length=size)
        self.iommufd.call("IOMMU_IOAS_UNMAP", request, doing)

    def _close(self) -> None:
        with contextlib.ExitStack() as undo:
            if self._owns:
                undo.callback(self.iommufd.close)
            else:
                undo.callback(self.iommufd.destroy, self.id)
            undo.callback(self._unmap_all)

    def _close_files(self) -> None:
        if self._owns:
            self.iommufd.close()


def _flags(mapping: DmaMapping) -> int:
    flags = uapi.IOMMU_IOAS_MAP_FIXED_IOVA
    flags |= uapi.IOMMU_IOAS_MAP_READABLE if mapping.readable else 0
    return flags | (uapi.IOMMU_IOAS_MAP_WRITEABLE if mapping.writable else 0)
