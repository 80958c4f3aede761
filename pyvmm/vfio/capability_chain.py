# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""InfoCapability: an entry of the chains that follow VFIO's info structures, and how to walk one.

struct vfio_info_cap_header of <linux/vfio.h>; the same in the info of a device, of a region and
of a type1 IOMMU, and in vfio-user's messages.
"""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

from .errors import ProtocolError

HEADER = struct.Struct("=HHI")  # id, version, next: an offset from the start of the info


class InfoCapability(NamedTuple):
    """One entry of a capability chain; data is what follows its header, up to the next."""

    id: int
    version: int
    data: bytes


def walk(data: bytes, first: int, fixed: int, what: str) -> tuple[InfoCapability, ...]:
    """The capabilities of an info structure, in the order of the chain; unknown ones too.

    data is the whole answer, first the offset of the chain in it (0: there is none), and fixed
    the size of the structure that comes before. Raises ProtocolError, about `what`, for chains
    that loop or leave the data.
    """
    starts: dict[int, None] = {}
    at = first
    while at:
        if at < fixed or at + HEADER.size > len(data):
            raise ProtocolError(f"{what}: capability at {at:#x}, outside of {len(data):#x} bytes")
        if at in starts:
            raise ProtocolError(f"{what}: the capability chain loops at {at:#x}")
        starts[at] = None
        at = HEADER.unpack_from(data, at)[2]
    limits = sorted([*starts, len(data)])
    end_of = dict(itertools.pairwise(limits))
    capabilities: list[InfoCapability] = []
    for start in starts:
        id, version, _ = HEADER.unpack_from(data, start)
        capabilities.append(InfoCapability(id, version, data[start + HEADER.size : end_of[start]]))
    return tuple(capabilities)
