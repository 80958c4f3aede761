# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RegionInfo: what VFIO tells of a region, and its form with the chain of capabilities.

The form is struct vfio_region_info of <linux/vfio.h>, the same from the kernel's ioctl and in
vfio-user's messages.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..uapi.vfio import (
    VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
    VFIO_REGION_INFO_CAP_SPARSE_MMAP,
    VFIO_REGION_INFO_CAP_TYPE,
    VFIO_REGION_INFO_FLAG_CAPS,
    VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from .capability_chain import HEADER, InfoCapability, walk
from .errors import ProtocolError
from .intervals import Interval, merge

INFO = struct.Struct("=IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
_SPARSE = struct.Struct("=II")  # nr_areas, reserved

# Each is a mapping of ours, and a memslot while the guest decodes it. Devices have a handful.
_MAX_AREAS = 256
_AREA = struct.Struct("=QQ")  # offset, size
_TYPE = struct.Struct("=II")  # type, subtype


class RegionInfo(NamedTuple):
    """A region of a device (struct vfio_region_info).

    offset is the region's place in the file that region_fd() gives; areas are the parts that
    may be mapped, as offsets in the region. note says why nothing is known of it, if so.
    """

    index: int  # type: ignore[assignment]
    flags: int
    size: int
    offset: int = 0
    areas: tuple[Interval, ...] = ()
    capabilities: tuple[InfoCapability, ...] = ()
    note: str = ""

    @property
    def readable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_READ)

    @property
    def writable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_WRITE)

    @property
    def mappable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_MMAP)

    def capability(self, id: int) -> InfoCapability | None:
        """The first capability with this id, if there is one."""
        return next((c for c in self.capabilities if c.id == id), None)

    @property
    def type(self) -> tuple[int, int] | None:
        """Type and subtype of a device-specific region (VFIO_REGION_INFO_CAP_TYPE)."""
        capability = self.capability(VFIO_REGION_INFO_CAP_TYPE)
        if capability is None:
            return None
        type, subtype = _TYPE.unpack_from(capability.data)
        return type, subtype

    @property
    def msix_mappable(self) -> bool:
        """Whether even the MSI-X table's page may be mapped."""
        return self.capability(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) is not None


def parse(data: bytes | memoryview) -> RegionInfo:
    """Read struct vfio_region_info and the capabilities that follow it.

    data must be complete: as long as its own argsz says. Raises ProtocolError for what no
    honest peer sends: chains that loop or leave the data, areas outside the region.
    """
    if len(data) < INFO.size:
        raise ProtocolError(f"region info of {len(data)} bytes, less than {INFO.size}")
    _, flags, index, cap_offset, size, offset = INFO.unpack_from(data)
    capabilities: tuple[InfoCapability, ...] = ()
    if flags & VFIO_REGION_INFO_FLAG_CAPS:
        capabilities = walk(bytes(data), cap_offset, INFO.size, f"region {index}")
    for capability in capabilities:
        if capability.id == VFIO_REGION_INFO_CAP_TYPE and len(capability.data) < _TYPE.size:
            raise ProtocolError(f"region {index}: type capability of {len(capability.data)} bytes")
    areas: tuple[Interval, ...] = ()
    if flags & VFIO_REGION_INFO_FLAG_MMAP:
        areas = merge((Interval(0, size),))
        for capability in capabilities:
            if capability.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP:
                areas = _sparse_areas(capability, index, size)
    return RegionInfo(index, flags, size, offset, areas, capabilities)


def _sparse_areas(capability: InfoCapability, index: int, size: int) -> tuple[Interval, ...]:
    data = capability.data
    count = _SPARSE.unpack_from(data)[0] if len(data) >= _SPARSE.size else -1
    end = _SPARSE.size + count * _AREA.size
    if count < 0 or end > len(data):
        raise ProtocolError(f"region {index}: {count} sparse areas in {len(data)} bytes")
    areas = [Interval.sized(*area) for area in _AREA.iter_unpack(data[_SPARSE.size : end])]
    if count > _MAX_AREAS:
        raise ProtocolError(f"region {index}: {count} sparse areas, more than {_MAX_AREAS}")
    for area in areas:
        if area.end > size:
            raise ProtocolError(f"region {index}: sparse area {area} outside its {size:#x} bytes")
    return merge(areas)


def build(info: RegionInfo) -> bytes:
    """The complete form: parse(build(info)) tells the same flags, areas and capabilities.

    The sparse capability is made from areas, also if they are the whole region: a vfio-user
    client then asks a second time, and is ready for the region's file.
    """
    flags = info.flags & ~(VFIO_REGION_INFO_FLAG_CAPS | VFIO_REGION_INFO_FLAG_MMAP)
    capabilities = [c for c in info.capabilities if c.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP]
    areas = merge(info.areas)
    if areas:
        flags |= VFIO_REGION_INFO_FLAG_MMAP
        body = _SPARSE.pack(len(areas), 0)
        body += b"".join(_AREA.pack(area.start, area.size) for area in areas)
        capabilities.insert(0, InfoCapability(VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, body))
    chain = b""
    for capability in capabilities:
        body = capability.data + bytes(-len(capability.data) % 8)
        end = INFO.size + len(chain) + HEADER.size + len(body)
        next = 0 if capability is capabilities[-1] else end
        chain += HEADER.pack(capability.id, capability.version, next) + body
    if chain:
        flags |= VFIO_REGION_INFO_FLAG_CAPS
    cap_offset = INFO.size if chain else 0
    argsz = INFO.size + len(chain)
    return INFO.pack(argsz, flags, info.index, cap_offset, info.size, info.offset) + chain
