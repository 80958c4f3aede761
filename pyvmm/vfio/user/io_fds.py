# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The doorbells of a region, as VFIO_USER_DEVICE_GET_REGION_IO_FDS carries them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...uapi.kvm import KVM_IOEVENTFD_FLAG_DATAMATCH
from ..device import IoEventFd
from ..errors import ProtocolError

REGION_IO_FDS = struct.Struct("=IIII")  # argsz, flags, index, count; then the sub-regions
_SUB_REGION = struct.Struct("=QQIII")  # offset, size, fd_index, type, flags
_DATAMATCH = struct.Struct("=Q")
_PADDING = bytes(4)
_ENTRY_SIZE = _SUB_REGION.size + len(_PADDING) + _DATAMATCH.size
_TYPE_IOEVENTFD = 0
_MAX_COUNT = 4096


def full_size(doorbells: Sequence[IoEventFd]) -> int:
    """The argsz of the whole reply."""
    return REGION_IO_FDS.size + len(doorbells) * _ENTRY_SIZE


def first(doorbells: Sequence[IoEventFd], most: int) -> list[IoEventFd]:
    """The doorbells that so many fds are enough for; the others are written to all the same."""
    fds = list(dict.fromkeys(doorbell.fd for doorbell in doorbells))[:most]
    return [doorbell for doorbell in doorbells if doorbell.fd in fds]


def pack(index: int, doorbells: Sequence[IoEventFd]) -> tuple[bytes, list[int]]:
    """The whole reply's payload, and the fds that go with it, each once."""
    fds = list(dict.fromkeys(doorbell.fd for doorbell in doorbells))
    payload = REGION_IO_FDS.pack(full_size(doorbells), 0, index, len(doorbells))
    for doorbell in doorbells:
        flags = 0 if doorbell.datamatch is None else KVM_IOEVENTFD_FLAG_DATAMATCH
        payload += _SUB_REGION.pack(
            doorbell.offset, doorbell.size, fds.index(doorbell.fd), _TYPE_IOEVENTFD, flags
        )
        payload += _PADDING + _DATAMATCH.pack(doorbell.datamatch or 0)
    return payload, fds


def unpack(payload: bytes, index: int, region_size: int, fd_count: int) -> list[IoEventFd]:
    """The ioeventfds of a whole reply, with their places among its fds as fd.

    Other kinds of sub-region are left out; their fds are no eventfds, such as the memory of
    libvfio-user's shadow doorbells. The specification fixes no size of a sub-region. Its own has
    40 bytes; libvfio-user's has 48, with more between flags and datamatch, which is last in both.
    Raises ProtocolError.
    """
    argsz, _, got, count = REGION_IO_FDS.unpack_from(payload)
    if got != index or argsz != len(payload) or count > _MAX_COUNT:
        raise ProtocolError(f"region {got}, {count} sub-regions, argsz {argsz} of {len(payload)}")
    size = (argsz - REGION_IO_FDS.size) // count if count else _ENTRY_SIZE
    if size < _ENTRY_SIZE:
        raise ProtocolError(f"sub-regions of {size} bytes")
    doorbells = []
    for i in range(count):
        at = REGION_IO_FDS.size + i * size
        offset, length, fd_index, kind, flags = _SUB_REGION.unpack_from(payload, at)
        if kind != _TYPE_IOEVENTFD:
            continue
        if length not in (0, 1, 2, 4, 8) or offset + max(length, 1) > region_size:
            raise ProtocolError(f"an ioeventfd for {offset:#x}+{length:#x} in region {index}")
        if fd_index >= fd_count:
            raise ProtocolError(f"an ioeventfd that is fd {fd_index} of {fd_count}")
        match = None
        if flags & KVM_IOEVENTFD_FLAG_DATAMATCH:
            (match,) = _DATAMATCH.unpack_from(payload, at + size - _DATAMATCH.size)
        doorbells.append(IoEventFd(offset, length, fd_index, match))
    return doorbells
