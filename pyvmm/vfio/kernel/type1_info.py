# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Type1Info: what a type1 IOMMU tells of itself (VFIO_IOMMU_GET_INFO), and how it is asked."""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

from ...uapi import vfio
from ..capability_chain import InfoCapability, walk
from ..errors import ProtocolError
from ..intervals import Interval, Intervals, merge
from .kernel_file import KernelFile

_INFO = ctypes.sizeof(vfio.vfio_iommu_type1_info)
_COUNT = struct.Struct("=II")  # nr_iovas, reserved
_RANGE = struct.Struct("=QQ")  # start, end: the last IOVA
_MIGRATION = struct.Struct("=I4xQQ")  # flags, pgsize_bitmap, max_dirty_bitmap_size
_AVAILABLE = struct.Struct("=I")
_ANY_NUMBER = 0xFFFFFFFF  # from iommufd


class Type1Info(NamedTuple):
    """Sizes are in bytes. What the kernel is too old to tell is None."""

    page_sizes: int
    ranges: Intervals | None
    entries_available: int | None
    """How many more mappings the container takes; None, too, if any number."""
    dirty_page_sizes: int | None
    """None, too, if it can't track dirty pages."""
    max_dirty_bitmap: int
    capabilities: tuple[InfoCapability, ...]


def ask(file: KernelFile) -> Type1Info:
    """Ask a container that has its IOMMU. Raises VfioError."""
    return parse(file.ask("VFIO_IOMMU_GET_INFO", bytes(_INFO), doing="asking for its IOMMU"))


def parse(data: bytes) -> Type1Info:
    """Read struct vfio_iommu_type1_info and its capabilities. Raises ProtocolError.

    Kernels before 4.18 end the structure where the capabilities' offset is now.
    """
    info = vfio.vfio_iommu_type1_info.from_buffer_copy(data.ljust(_INFO, b"\0"))
    page_sizes = info.iova_pgsizes if info.flags & vfio.VFIO_IOMMU_INFO_PGSIZES else 0x1000
    capabilities: tuple[InfoCapability, ...] = ()
    if info.flags & vfio.VFIO_IOMMU_INFO_CAPS:
        capabilities = walk(data, info.cap_offset, _INFO, "IOMMU info")
    ranges: Intervals | None = None
    available: int | None = None
    dirty: int | None = None
    max_bitmap = 0
    for capability in capabilities:
        body = capability.data
        if capability.id == vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE:
            ranges = _ranges(body)
        elif capability.id == vfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL:
            (left,) = _unpack(_AVAILABLE, body)
            available = None if left == _ANY_NUMBER else left
        elif capability.id == vfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION:
            _, dirty, max_bitmap = _unpack(_MIGRATION, body)
    return Type1Info(page_sizes, ranges, available, dirty, max_bitmap, capabilities)


def _ranges(body: bytes) -> Intervals:
    count, _ = _unpack(_COUNT, body)
    end = _COUNT.size + count * _RANGE.size
    if end > len(body):
        raise ProtocolError(f"IOMMU info: {count} IOVA ranges in {len(body)} bytes")
    found = _RANGE.iter_unpack(body[_COUNT.size : end])
    return merge(Interval(start, last + 1) for start, last in found)


def _unpack(form: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < form.size:
        raise ProtocolError(f"IOMMU info: a capability of {len(body)} bytes, less than {form.size}")
    return form.unpack_from(body)
