# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""struct vfio_irq_set: how setting interrupts is said, to the kernel and in vfio-user's messages.

See VFIO_DEVICE_SET_IRQS in <linux/vfio.h>. Eventfds follow it only to the kernel: a message
carries them beside its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_TYPE_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
    VFIO_IRQ_SET_DATA_TYPE_MASK,
)
from .device import Fds, IrqData

_FIXED = struct.Struct("=IIIII")  # argsz, flags, index, start, count
_ACTIONS = (VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_ACTION_TRIGGER)
_DATA_TYPES = (VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD)


class IrqSet(NamedTuple):
    """The structure's fields; action and data_type are its flags, data is what follows it."""

    index: int  # type: ignore[assignment]
    action: int
    data_type: int
    start: int
    count: int  # type: ignore[assignment]
    data: bytes


def pack(
    index: int, action: int, start: int, count: int, data: IrqData, *, fds_aside: bool = False
) -> bytes:
    """The structure for Device.set_irqs() with its data, but for fds that go another way.

    Raises ValueError for what can't be said.
    """
    if data is None:
        kind, body = VFIO_IRQ_SET_DATA_NONE, b""
    elif len(data) != count:
        raise ValueError(f"{len(data)} values for {count} interrupts")
    elif isinstance(data, Fds):
        if any(not -1 <= fd < 1 << 31 for fd in data):
            raise ValueError(f"eventfds {list(data)}; to have none, give -1")
        kind = VFIO_IRQ_SET_DATA_EVENTFD
        body = b"" if fds_aside else struct.pack(f"={count}i", *data)
    else:
        kind, body = VFIO_IRQ_SET_DATA_BOOL, bytes(bool(value) for value in data)
    if action not in _ACTIONS:
        raise ValueError(f"action {action:#x}")
    if min(index, start, count) < 0 or max(index, start + count) >= (1 << 32) - 1:
        raise ValueError(f"interrupts {start}+{count} of kind {index}")
    return _FIXED.pack(_FIXED.size + len(body), action | kind, index, start, count) + body


def unpack(payload: bytes) -> IrqSet:
    """Read the structure and what follows it. Raises ValueError for what makes no sense."""
    if len(payload) < _FIXED.size:
        raise ValueError("a short payload")
    argsz, flags, index, start, count = _FIXED.unpack_from(payload)
    action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK
    kind = flags & VFIO_IRQ_SET_DATA_TYPE_MASK
    if argsz < _FIXED.size:
        raise ValueError(f"argsz {argsz}")
    if flags != action | kind or action not in _ACTIONS or kind not in _DATA_TYPES:
        raise ValueError(f"flags {flags:#x}")
    data = payload[_FIXED.size :]
    if kind == VFIO_IRQ_SET_DATA_BOOL and len(data) != count:
        raise ValueError(f"{len(data)} booleans for {count} interrupts")
    return IrqSet(index, action, kind, start, count, data)


def consecutive(vectors: Iterable[int]) -> list[range]:
    """Interrupts as ranges of consecutive ones, each of which one call can set."""
    runs: list[range] = []
    for vector in sorted(vectors):
        if runs and runs[-1].stop == vector:
            runs[-1] = range(runs[-1].start, vector + 1)
        else:
            runs.append(range(vector, vector + 1))
    return runs
