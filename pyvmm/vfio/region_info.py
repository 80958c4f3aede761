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
from .errors import ProtocolError
from .intervals import Interval, merge

INFO = struct.Struct("=IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
_CAP_HEADER = struct.Struct("=HHI")  # id, version, next: an offset from the start of INFO
_SPARSE = struct.Struct("=II")  # nr_areas, reserved

# Each is a mapping of ours, and a memslot while the guest decodes it. Devices have a handful.
_MAX_AREAS = 256
_AREA = struct.Struct("=QQ")  # offset, size
_TYPE = struct.Struct("=II")  # type, subtype


class Capability(NamedTuple):
    """One entry of a capability chain; data is what follows its header, up to the next."""

    id: int
    version: int
    data: bytes


class RegionInfo(NamedTuple):
    """A region of a device (struct vfio_region_info).

    offset is the region's place in the file that region_fd() gives; areas are the parts that
    may be mapped, as offsets in the region.
    """

    index: int  # type: ignore[assignment]
    flags: int
    size: int
    offset: int = 0
    areas: tuple[Interval, ...] = ()
    capabilities: tuple[Capability, ...] = ()

    @property
    def readable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_READ)

    @property
    def writable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_WRITE)

    @property
    def mappable(self) -> bool:
        return bool(self.flags & VFIO_REGION_INFO_FLAG_MMAP)

    def capability(self, id: int) -> Capability | None:
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
    capabilities: tuple[Capability, ...] = ()
    if flags & VFIO_REGION_INFO_FLAG_CAPS:
        capabilities = _walk(bytes(data), cap_offset, f"region {index}")
    areas: tuple[Interval, ...] = ()
    if flags & VFIO_REGION_INFO_FLAG_MMAP:
        areas = merge((Interval(0, size),))
        for capability in capabilities:
            if capability.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP:
                areas = _sparse_areas(capability, index, size)
    return RegionInfo(index, flags, size, offset, areas, capabilities)


def _walk(data: bytes, at: int, what: str) -> tuple[Capability, ...]:
    """Follow a chain. Entries may be in any order, but none may be met twice."""
    starts: list[int] = []
    while at:
        if at < INFO.size or at + _CAP_HEADER.size > len(data):
            raise ProtocolError(f"{what}: capability at {at:#x}, outside of {len(data):#x} bytes")
        if at in starts:
            raise ProtocolError(f"{what}: the capability chain loops at {at:#x}")
        starts.append(at)
        at = _CAP_HEADER.unpack_from(data, at)[2]
    ends = sorted([*starts, len(data)])
    capabilities: list[Capability] = []
    for start in starts:
        id, version, _ = _CAP_HEADER.unpack_from(data, start)
        body = data[start + _CAP_HEADER.size : ends[ends.index(start) + 1]]
        if id == VFIO_REGION_INFO_CAP_TYPE and len(body) < _TYPE.size:
            raise ProtocolError(f"{what}: type capability of {len(body)} bytes")
        capabilities.append(Capability(id, version, body))
    return tuple(capabilities)


def _sparse_areas(capability: Capability, index: int, size: int) -> tuple[Interval, ...]:
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
        capabilities.insert(0, Capability(VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, body))
    chain = b""
    for capability in capabilities:
        body = capability.data + bytes(-len(capability.data) % 8)
        end = INFO.size + len(chain) + _CAP_HEADER.size + len(body)
        next = 0 if capability is capabilities[-1] else end
        chain += _CAP_HEADER.pack(capability.id, capability.version, next) + body
    if chain:
        flags |= VFIO_REGION_INFO_FLAG_CAPS
    cap_offset = INFO.size if chain else 0
    argsz = INFO.size + len(chain)
    return INFO.pack(argsz, flags, info.index, cap_offset, info.size, info.offset) + chain
