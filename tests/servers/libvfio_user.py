# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""LibvfioUser: how servers made with libvfio-user speak (its newest state, June 2026)."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import ClassVar

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
    VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_BAR5_REGION_INDEX,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from pyvmm.vfio import Device, irq_set
from tests.servers.dialect import Dialect
from tests.unit.vfio.fakes import DMA_MAP, REGION_READ, SET_IRQS, Received

_ACCESS = struct.Struct("=QII")
_BAR0 = 0x10
_KINDS = range(VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX + 1)


class LibvfioUser(Dialect):
    """It takes fds from the read that has the header, and has a socket for its own commands.

    BARs that are not there read 1. INTx, MSI and MSI-X share one array of eventfds, from which it
    takes [start, count) when it is told to take [start, start + count).
    """

    capabilities: ClassVar[dict[str, object] | None] = {
        "max_msg_fds": 8,
        "max_data_xfer_size": 1 << 20,
        "migration": {"pgsize": 4096},
    }
    twin = True

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self._array: dict[int, int] = {}  # by vector, whose kind's eventfd is there
        self.commands |= {SET_IRQS: self._set_irqs}
        self.replies |= {REGION_READ: self._read}

    def _read(self, _asked: Received, reply: Received) -> Received:
        offset, region, _ = _ACCESS.unpack_from(reply.payload)
        if region != VFIO_PCI_CONFIG_REGION_INDEX:
            return reply
        data = bytearray(reply.payload[_ACCESS.size :])
        for bar in range(VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR5_REGION_INDEX + 1):
            at = _BAR0 + 4 * bar - offset
            if not self.device.region_info(bar).size and 0 <= at < len(data):
                data[at] = 1
        return reply._replace(payload=reply.payload[: _ACCESS.size] + bytes(data))

    def _set_irqs(self, asked: Received) -> Received | None:
        told = irq_set.unpack(asked.payload)
        if told.index in _KINDS and not self.device.irq_info(told.index).count:
            self.answer(asked, error=errno.EINVAL)
            return None
        if len(asked.fds) > 8:
            self.mistake(f"{len(asked.fds)} fds in a message")
        if told.action != VFIO_IRQ_SET_ACTION_TRIGGER or told.index not in _KINDS:
            return asked
        if told.data_type == VFIO_IRQ_SET_DATA_NONE and not told.count:
            others = [vector for vector, kind in self._array.items() if kind != told.index]
            if others:
                self.mistake(f"the end of kind {told.index} takes the eventfds of {others}")
            self._array.clear()
        elif told.data_type == VFIO_IRQ_SET_DATA_EVENTFD and asked.fds:
            for vector in range(told.start, told.start + told.count):
                if self._array.setdefault(vector, told.index) != told.index:
                    self.mistake(f"vector {vector} of kind {told.index} has another's place")
        elif told.data_type == VFIO_IRQ_SET_DATA_EVENTFD:
            really = range(told.start, told.count)
            for vector in really:
                self._array.pop(vector, None)
            if not really:
                self.answer(asked)
                return None
            flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
            some = struct.pack("=IIIII", 20, flags, told.index, told.start, len(really))
            return asked._replace(payload=some)
        return asked


class LibvfioUserByMessage(LibvfioUser):
    """The same for a device that never maps guest memory: by the twin socket."""

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self.commands |= {DMA_MAP: lambda asked: asked._replace(fds=[])}
