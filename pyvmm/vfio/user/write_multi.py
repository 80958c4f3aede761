# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Many writes in one message: VFIO_USER_REGION_WRITE_MULTI, for servers that say they take it."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from ..device import RegionWrite
from .protocol import VFIO_USER_REGION_WRITE_MULTI, WRITE, WRITE_MULTI
from .queries import Queries

_WIDTH = 8  # bytes of data that there is room for in each


def fit(writes: Sequence[RegionWrite]) -> bool:
    """Whether such a message can say them."""
    return all(len(data) <= _WIDTH for _, _, data in writes)


def send(queries: Queries, writes: Sequence[RegionWrite], max_transfer: int) -> None:
    """Have them done, by messages with at most max_transfer bytes of payload.

    Raises VfioError: DeviceError for the first one that is refused, which ends it.
    """
    most = max(1, (max_transfer - WRITE_MULTI.size) // WRITE.size)
    for at in range(0, len(writes), most):
        _send(queries, writes[at : at + most])


def _send(queries: Queries, writes: Sequence[RegionWrite]) -> None:
    command = VFIO_USER_REGION_WRITE_MULTI
    payload = WRITE_MULTI.pack(len(writes)) + b"".join(
        WRITE.pack(offset, index, len(data), data) for index, offset, data in writes
    )
    reply = queries.ask(f"{len(writes)} writes", command, payload)
    if len(reply.payload) != WRITE_MULTI.size:
        raise queries.lied(command, f"{len(reply.payload)} bytes of payload")
    (done,) = WRITE_MULTI.unpack(reply.payload)
    if done > len(writes):
        raise queries.lied(command, f"{done} writes, of {len(writes)} that were asked for")
    if done < len(writes):
        index, offset, data = writes[done]
        doing = f"writing {len(data)} bytes at {offset:#x} of region {index}"
        reply.error = errno.EIO  # it doesn't say which
        raise queries.refused(doing, command, reply)
