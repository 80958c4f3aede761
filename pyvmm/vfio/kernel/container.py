# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Container: the DMA space of VFIO's groups (type1), the kernel's own or iommufd's imitation.

The kernel's own container forgets its mappings with its last group, and takes none before the
first. Not so this: what is mapped without a group is mapped for real when one comes.
See Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

from ...uapi import vfio
from ..dirty import DirtyTracking
from ..dma import IOVA_END, DmaMapping
from ..errors import DeviceError
from ..host import IommuGroup
from ..intervals import Interval, Intervals
from ..mapping import PAGE_SIZE
from .device import KernelDevice
from .group_space import NO_VFIO, GroupSpace
from .iommufd import NO_IOMMUFD
from .type1_dirty import Type1Dirty
from .type1_info import Type1Info, ask

_KINDS = {
    "type1v2": ("dev/vfio/vfio", vfio.VFIO_TYPE1v2_IOMMU, NO_VFIO),
    "type1": ("dev/vfio/vfio", vfio.VFIO_TYPE1_IOMMU, NO_VFIO),
    "iommufd-compat": ("dev/iommu", vfio.VFIO_TYPE1v2_IOMMU, NO_IOMMUFD),
}


class Container(GroupSpace):
    """A type1 container."""

    def __init__(self, backend: str = "type1v2", *, root: str = "/") -> None:
        """backend is "type1v2", "type1" or "iommufd-compat". Raises HostDeviceUnavailable."""
        path, extension, cures = _KINDS[backend]
        self.backend = backend
        # iommufd keeps the mappings in an IOAS, which needs no group.
        self._forgets = backend != "iommufd-compat"
        self._live = False
        self._info: Type1Info | None = None
        super().__init__(os.path.join(root, path), extension, root, cures)
        self._unmaps_all = self.supports(vfio.VFIO_UNMAP_ALL)

    # What it is.

    @property
    def info(self) -> Type1Info | None:
        """What the kernel tells of the IOMMU; None before there is a device."""
        with self._lock:
            if self._info is None and self._live:
                self._info = ask(self._file)
            return self._info

    @property
    def page_sizes(self) -> int:
        info = self.info
        return info.page_sizes if info else (IOVA_END - 1) & -PAGE_SIZE

    def iova_ranges(self) -> Intervals:
        """Everything, before there is a device, or if the kernel is too old to tell."""
        info = self.info
        return info.ranges if info and info.ranges is not None else (Interval(0, IOVA_END),)

    @property
    def entries_available(self) -> int | None:
        with self._lock:
            self._info = None
            info = self.info
        return info.entries_available if info else None

    @property
    def dirty(self) -> DirtyTracking | None:
        info = self.info
        # The old type1 says so too, and refuses.
        if info is None or not info.dirty_page_sizes or self.backend == "type1":
            return None
        return Type1Dirty(self._file, info.dirty_page_sizes & -info.dirty_page_sizes)

    # Groups.

    def _what_is_missing(self) -> str:
        return "type1 IOMMU: `sudo modprobe vfio_iommu_type1`"

    def _first_group(self, host: IommuGroup) -> None:
        if self._live:
            return
        self._set_iommu(host)
        self._live = True
        try:
            for mapping in self._book:
                with self._explained(mapping):
                    self._map_dma(mapping)
        except BaseException:
            with contextlib.suppress(DeviceError):
                self._unmap_everything()
            self._live = False
            raise

    def _last_group_left(self) -> None:
        if self._forgets:
            self._live = False
            self._info = None

    def _ranges_changed(self) -> None:
        super()._ranges_changed()
        self._info = None

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
        # Mapped, the BAR keeps the device open, and from being given to somebody else.
        bar = device.map_region(index, area)
        with self._lock:
            try:
                self.map(iova, area.size, address=bar.address, writable=writable)
            except BaseException:
                bar.close()
                raise
            self._files[iova] = bar

    def _map_memory(self, mapping: DmaMapping) -> None:
        self._address(mapping)
        try:
            if self._live:
                self._map_dma(mapping)
        except BaseException:
            self._let_file_go(mapping.iova)
            raise

    def _map_dma(self, mapping: DmaMapping) -> None:
        flags = vfio.VFIO_DMA_MAP_FLAG_READ if mapping.readable else 0
        flags |= vfio.VFIO_DMA_MAP_FLAG_WRITE if mapping.writable else 0
        request = vfio.vfio_iommu_type1_dma_map(
            argsz=ctypes.sizeof(vfio.vfio_iommu_type1_dma_map),
            flags=flags,
            vaddr=self._address(mapping),
            iova=mapping.iova,
            size=mapping.size,
        )
        self._file.ioctl("VFIO_IOMMU_MAP_DMA", request, doing=f"mapping {mapping}")

    def _unmap(self, mapping: DmaMapping) -> None:
        try:
            if self._live:
                self._unmap_dma(mapping.iova, mapping.size)
        finally:  # or the next mapping there would be of this file
            self._let_file_go(mapping.iova)

    def _unmap_all(self) -> None:
        try:
            if self._live:
                self._unmap_everything()
        finally:
            for iova in list(self._files):
                self._let_file_go(iova)

    def _unmap_everything(self) -> None:
        if self._unmaps_all:
            self._unmap_dma(0, 0, vfio.VFIO_DMA_UNMAP_FLAG_ALL)
        else:  # a kernel before 5.12
            for mapping in self._book:
                self._unmap_dma(mapping.iova, mapping.size)

    def _unmap_dma(self, iova: int, size: int, flags: int = 0) -> None:
        request = vfio.vfio_iommu_type1_dma_unmap(
            argsz=ctypes.sizeof(vfio.vfio_iommu_type1_dma_unmap), flags=flags, iova=iova, size=size
        )
        doing = f"unmapping IOVA {iova:#x}+{size:#x}" if size else "unmapping everything"
        self._file.ioctl("VFIO_IOMMU_UNMAP_DMA", request, doing=doing)
        if size and request.size != size:
            raise DeviceError.answered(
                f"{doing}: VFIO_IOMMU_UNMAP_DMA: only {request.size:#x} bytes", errno.EIO
            )

    def _close(self) -> None:
        try:
            self._unmap_all()
        finally:
            super()._close()
