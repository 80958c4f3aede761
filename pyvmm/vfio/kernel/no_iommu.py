# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""NoIommuSpace: DMA by host-physical address, for user-space drivers on hosts without an IOMMU.

Nothing keeps such a device from any memory of the host. So there is no map(): memory is
allocated here, and the device is told where it is. It takes the module parameter
enable_unsafe_noiommu_mode of vfio, and taints the kernel.
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from ...uapi import vfio
from ..buffer import DmaBuffer, Huge
from ..dma import IOVA_END, DmaMapping
from ..errors import DeviceError
from ..host import IommuGroup
from ..intervals import Interval, Intervals
from ..mapping import PAGE_SIZE
from .device import KernelDevice
from .group_space import GroupSpace
from .physical import PhysicalMemory


class NoIommuSpace(GroupSpace):
    """The space of groups that have no IOMMU: an IOVA is a host-physical address."""

    backend = "noiommu"

    def __init__(self, *, root: str = "/") -> None:
        """Raises HostDeviceUnavailable."""
        path = os.path.join(root, "dev/vfio/vfio")
        super().__init__(path, vfio.VFIO_NOIOMMU_IOMMU, root)
        self._memories: set[PhysicalMemory] = set()

    @property
    def page_sizes(self) -> int:
        return (IOVA_END - 1) & -PAGE_SIZE

    def iova_ranges(self) -> Intervals:
        """All physical addresses; what can be had of them is up to alloc()."""
        return (Interval(0, IOVA_END),)

    def alloc(
        self,
        size: int,
        *,
        iova: int | None = None,
        huge: Huge | None = None,
        writable: bool = True,
        below: int = IOVA_END,
    ) -> DmaBuffer:
        """New memory that is in one run and stays in place; its IOVA is its physical address.

        Of more than a page it is made of huge pages. iova must be None, and writable doesn't
        keep the device from writing. Raises DeviceError.
        """
        doing = f"allocating {size:#x} bytes for DMA without an IOMMU"
        if iova is not None:
            cure = "where memory is can't be chosen: leave iova out"
            raise DeviceError.answered(doing, errno.EOPNOTSUPP, cure)
        memory = PhysicalMemory(size, huge)
        try:
            if memory.address + memory.mapping.size > below:
                cure = f"the memory that there is lies at {memory.address:#x}, not below {below:#x}"
                raise DeviceError.answered(doing, errno.ENOSPC, cure)
            mapping = DmaMapping(memory.address, memory.mapping.size, memory.mapping.address)
            with self._lock:
                self._add(mapping, lambda mapping: None)
                self._memories.add(memory)
        except BaseException:
            memory.close()
            raise

        def unmap() -> None:
            self._free(mapping)
            with self._lock:
                self._memories.discard(memory)
            memory.close()

        return DmaBuffer(memory.mapping, memory.address, size, unmap)

    def map_bar(
        self,
        iova: int,
        device: KernelDevice,
        index: int,
        area: Interval,
        *,
        writable: bool = True,
    ) -> NoReturn:
        raise DeviceError.answered(
            f"mapping {device.name}'s BAR {index} at IOVA {iova:#x}",
            errno.EOPNOTSUPP,
            "without an IOMMU peers reach it by its own address: HostFunction.resources",
        )

    def _map_memory(self, mapping: DmaMapping) -> NoReturn:
        raise DeviceError.answered(
            f"mapping {mapping} without an IOMMU",
            errno.EOPNOTSUPP,
            "nothing would translate the device's DMA, or keep it from the host's memory, so no "
            "guest can have it: assign it on a host with an IOMMU; drivers use alloc()",
        )

    def _unmap(self, mapping: DmaMapping) -> None:
        """Nothing to undo: nothing ever kept the device from it."""

    def _what_is_missing(self) -> str:
        return (
            "no-IOMMU mode: it takes a kernel with CONFIG_VFIO_NOIOMMU, and, if you accept that "
            "nothing confines the device, "
            "`echo 1 | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode`"
        )

    def _first_group(self, host: IommuGroup) -> None:
        self._set_iommu(host)

    def _last_group_left(self) -> None:
        """The container is as new."""

    def _close_files(self) -> None:
        """The memory of buffers that nobody has closed goes too: no device uses it any more."""
        super()._close_files()
        while self._memories:
            self._memories.pop().close()
