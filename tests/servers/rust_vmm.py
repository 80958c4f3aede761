# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RustVmm: how servers made with rust-vmm's vfio_user crate speak (April 2026)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import ClassVar

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_REGION_INFO_FLAG_CAPS,
    VFIO_REGION_INFO_FLAG_MMAP,
)
from pyvmm.vfio import Device, irq_set
from tests.servers.dialect import Dialect
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_UNMAP,
    F_ERROR,
    GET_INFO,
    GET_IRQ_INFO,
    GET_REGION_INFO,
    REGION_READ,
    REGION_WRITE,
    RESET,
    SET_IRQS,
    VERSION,
    Received,
)

_INFO = struct.Struct("=IIIIQQ")
_KNOWN = {
    *(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, SET_IRQS),
    *(REGION_READ, REGION_WRITE, RESET),
}


class RustVmm(Dialect):
    """Its errors have no reason. After a command that it doesn't know it has lost the stream.

    A region's short answer says that there is more already. MSI-X has no masks, as in Linux.
    """

    capabilities: ClassVar[dict[str, object] | None] = {
        "max_msg_fds": 1,
        "max_data_xfer_size": 1 << 20,
        "migration": {"pgsize": 4096},
    }

    doorbells = False

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self.commands |= {SET_IRQS: self._set_irqs}
        self.replies |= {GET_REGION_INFO: self._region_info}

    def from_client(self, message: Received) -> None:
        if message.command not in _KNOWN:
            self.mistake(f"command {message.command}")
            raise EOFError
        super().from_client(message)

    def say(self, message: Received) -> None:
        super().say(message._replace(error=0) if message.flags & F_ERROR else message)

    def _set_irqs(self, asked: Received) -> Received | None:
        if len(asked.fds) > 1:
            self.mistake(f"{len(asked.fds)} fds in a message")
        told = irq_set.unpack(asked.payload)
        if told.action == VFIO_IRQ_SET_ACTION_TRIGGER or told.index != VFIO_PCI_MSIX_IRQ_INDEX:
            return asked
        self.answer(asked, error=0)
        return None

    def _region_info(self, _asked: Received, reply: Received) -> Received:
        argsz, flags, index, at, size, offset = _INFO.unpack_from(reply.payload)
        if flags & VFIO_REGION_INFO_FLAG_MMAP and argsz > _INFO.size:
            flags, at = flags | VFIO_REGION_INFO_FLAG_CAPS, _INFO.size
        told = _INFO.pack(argsz, flags, index, at, size, offset)
        return reply._replace(payload=told + reply.payload[_INFO.size :])
