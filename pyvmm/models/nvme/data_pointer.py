# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where a command's data are in memory: PRPs (section 4.3) and SGLs (section 4.4) as segments.

Both are lists in memory that the guest may write what it likes into, also loops. Each look at a
list here either yields data, of which a command has a limited number of bytes, or is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from pyvmm.models.file_dma import Segment

from .spec import Command, Rejected, Status

Read = Callable[[int, int], bytes]
"""reads memory: IOVA, bytes"""

PRP, SGL_CONTIGUOUS_METADATA, SGL = 0, 1, 2  # bits 6 and 7 of a command's flags (PSDT)

DATA_BLOCK, SEGMENT, LAST_SEGMENT = 0x00, 0x20, 0x30  # types in bits 4 to 7, sub-types 0
_DESCRIPTOR = struct.Struct("<QI3xB")
_MOST_DESCRIPTORS = 4096  # for one command, also if they have no bytes


def segments(command: Command, size: int, page: int, read: Read) -> list[Segment]:
    """The `size` bytes of a command's data, in pages of `page` bytes. Raises Rejected, DmaFault.

    What adjoins is one segment.
    """
    kind = command.flags >> 6
    if kind == PRP:
        if size <= page - command.prp1 % page and not command.prp1 & 3:
            return [(command.prp1, size)] if size else []
        return _merge(prps(command.prp1, command.prp2, size, page, read))
    if kind in (SGL_CONTIGUOUS_METADATA, SGL):
        # The descriptor is where the PRPs would be.
        first = command.prp1.to_bytes(8, "little") + command.prp2.to_bytes(8, "little")
        return _merge(sgl(first, size, read))
    raise Rejected(Status.INVALID_FIELD, 1)


def prps(prp1: int, prp2: int, size: int, page: int, read: Read) -> list[Segment]:
    """Segments of a page each, but for the first, which may begin, and the last, which may end
    within one. The second PRP is a page's address, or, for more than two pages, a list's.
    """
    if prp1 & 3:
        raise Rejected(Status.INVALID_PRP_OFFSET, 24)
    if not size:
        return []
    first = min(size, page - prp1 % page)
    found = [(prp1, first)]
    left = size - first
    if not left:
        return found
    if left <= page:
        if prp2 % page:
            raise Rejected(Status.INVALID_PRP_OFFSET, 32)
        found.append((prp2, left))
        return found
    at = prp2
    if at & 7:
        raise Rejected(Status.INVALID_PRP_OFFSET, 32)
    while left:
        # A list ends with its page. If that is not enough, its last entry is the next list's
        # address, at the start of a page: so from the second on, each has data for many pages.
        room = (page - at % page) // 8
        wanted = -(-left // page)
        entries = struct.unpack(f"<{min(room, wanted)}Q", read(at, 8 * min(room, wanted)))
        chained = wanted > room
        for entry in entries[: room - 1] if chained else entries:
            if entry % page:
                raise Rejected(Status.INVALID_PRP_OFFSET, 32)
            found.append((entry, min(left, page)))
            left -= page
        if not chained:
            break
        at = entries[-1]
        if at % page:
            raise Rejected(Status.INVALID_PRP_OFFSET, 32)
    return found


def sgl(first: bytes, size: int, read: Read) -> list[Segment]:
    """Segments of an SGL that begins with a descriptor in the command itself."""
    found: list[Segment] = []
    left = size
    for iova, count in _data_blocks(first, read):
        if count > left:
            raise Rejected(Status.INVALID_SGL_LENGTH, 24)
        if count:
            found.append((iova, count))
        left -= count
    if left:
        raise Rejected(Status.INVALID_SGL_LENGTH, 24)
    return found


def _data_blocks(descriptors: bytes, read: Read) -> Iterator[Segment]:
    """What the data block descriptors say, over all segments of the SGL."""
    looked_at = 0
    final = False
    while True:
        segment = list(_DESCRIPTOR.iter_unpack(descriptors))
        # The last descriptor of a segment may be a pointer to the next one.
        pointer = segment.pop() if segment[-1][2] in (SEGMENT, LAST_SEGMENT) else None
        for iova, count, kind in segment:
            if kind != DATA_BLOCK:
                misplaced = kind in (SEGMENT, LAST_SEGMENT)
                status = Status.INVALID_SGL_SEGMENT if misplaced else Status.INVALID_SGL_TYPE
                raise Rejected(status, 24)
            yield iova, count
        if pointer is None:
            return
        iova, count, kind = pointer
        if final or not count or count % _DESCRIPTOR.size:
            raise Rejected(Status.INVALID_SGL_SEGMENT, 24)
        looked_at += count // _DESCRIPTOR.size
        if looked_at > _MOST_DESCRIPTORS:
            raise Rejected(Status.INVALID_SGL_COUNT, 24)
        final = kind == LAST_SEGMENT
        descriptors = read(iova, count)


def _merge(parts: list[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for iova, size in parts:
        if merged and sum(merged[-1]) == iova:
            merged[-1] = merged[-1][0], merged[-1][1] + size
        else:
            merged.append((iova, size))
    return merged
