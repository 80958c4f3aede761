# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Qemu: how QEMU speaks as a server (x-vfio-user-server of 10.0), made with libvfio-user."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from pathlib import Path

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_BASE_ADDRESS_IO_MASK,
    PCI_BASE_ADDRESS_MEM_MASK,
    PCI_BASE_ADDRESS_MEM_TYPE_64,
    PCI_BASE_ADDRESS_SPACE_IO,
    PCI_CAP_ID_MSIX,
    PCI_CAPABILITY_LIST,
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MEMORY,
    PCI_MSIX_FLAGS,
    PCI_MSIX_FLAGS_ENABLE,
    PCI_MSIX_FLAGS_MASKALL,
    PCI_MSIX_PBA,
    PCI_MSIX_PBA_BIR,
    PCI_MSIX_TABLE,
    PCI_MSIX_TABLE_BIR,
)
from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from pyvmm.vfio import Device, EventFd, irq_set
from tests.servers.libvfio_user import LibvfioUser
from tests.unit.vfio.fakes import (
    GET_REGION_INFO,
    REGION_READ,
    REGION_WRITE,
    RESET,
    SET_IRQS,
    Received,
)

_ACCESS = struct.Struct("=QII")
_INFO = struct.Struct("=IIIIQQ")
_BARS = range(6)
_ENTRY_SIZE = 16
_CONTROL = 12  # the mask's place in an entry of the table


class Qemu(LibvfioUser):
    """No BAR is mapped, and none is there before it has an address and the device decodes it.

    It has MSI-X masks of its own: a vector is heard once its entry in the table is unmasked, by a
    write or by UNMASK, and MSI-X is enabled in configuration space.
    """

    maps = False

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        size = device.region_info(VFIO_PCI_CONFIG_REGION_INDEX).size
        self._first = device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, 0, size)
        self._config = bytearray(self._first)
        self._msix = _find(self._config, PCI_CAP_ID_MSIX)
        self._unmasked: set[int] = set()
        self._pending: set[int] = set()
        self._vectors: dict[int, tuple[EventFd, EventFd]] = {}
        """of each the eventfd that the device signals, and the client's"""
        self.commands |= {
            SET_IRQS: self._interrupts,
            REGION_READ: self._access,
            REGION_WRITE: self._access,
            RESET: self._reset,
        }
        self.replies |= {GET_REGION_INFO: self._region_info, REGION_READ: self._read_pending}

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._let_go(list(self._vectors))

    # -- regions

    def _region_info(self, _asked: Received, reply: Received) -> Received:
        _, flags, index, _, size, offset = _INFO.unpack_from(reply.payload)
        flags &= VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
        told = _INFO.pack(_INFO.size, flags, index, 0, size, offset)
        return reply._replace(payload=told, fds=[])

    def _access(self, asked: Received) -> Received | None:
        offset, region, count = _ACCESS.unpack_from(asked.payload)
        data = asked.payload[_ACCESS.size :]
        if region in _BARS and not self._decodes(region):
            self.answer(asked, error=errno.EINVAL)
            return None
        if asked.command == REGION_WRITE and region == VFIO_PCI_CONFIG_REGION_INDEX:
            self._config[offset : offset + count] = data
            self._deliver()
        if asked.command == REGION_WRITE and region in _BARS and self._msix:
            self._write_table(region, offset, data)
        return asked

    def _decodes(self, bar: int) -> bool:
        register = PCI_BASE_ADDRESS_0 + 4 * bar
        address, kind = self._word(register, 4), self._first[register]
        if kind & PCI_BASE_ADDRESS_SPACE_IO:
            decoded, address = PCI_COMMAND_IO, address & PCI_BASE_ADDRESS_IO_MASK
        else:
            decoded = PCI_COMMAND_MEMORY
            if kind & PCI_BASE_ADDRESS_MEM_TYPE_64:
                address |= self._word(register + 4, 4) << 32
            address &= PCI_BASE_ADDRESS_MEM_MASK
        return bool(self._word(PCI_COMMAND) & decoded and address)

    def _word(self, at: int, size: int = 2) -> int:
        return int.from_bytes(self._config[at : at + size], "little")

    def _reset(self, asked: Received) -> Received:
        self._config[:] = self._first
        self._unmasked.clear()
        self._pending.clear()
        return asked

    # -- interrupts

    def _write_table(self, region: int, offset: int, data: bytes) -> None:
        place = self._word(self._msix + PCI_MSIX_TABLE, 4)
        start = place & ~PCI_MSIX_TABLE_BIR
        count = self.device.irq_info(VFIO_PCI_MSIX_IRQ_INDEX).count
        if region != place & PCI_MSIX_TABLE_BIR:
            return
        for at, byte in enumerate(data, offset - start):
            vector, within = divmod(at, _ENTRY_SIZE)
            if within == _CONTROL and 0 <= vector < count:
                self._set_masked([vector], bool(byte & 1))

    def _read_pending(self, asked: Received, reply: Received) -> Received:
        reply = self._read(asked, reply)
        offset, region, count = _ACCESS.unpack_from(reply.payload)
        place = self._word(self._msix + PCI_MSIX_PBA, 4) if self._msix else 0
        if not self._msix or region != place & PCI_MSIX_PBA_BIR:
            return reply
        data = bytearray(reply.payload[_ACCESS.size :])
        for vector in self._pending:
            at = (place & ~PCI_MSIX_PBA_BIR) + vector // 8 - offset
            if 0 <= at < count:
                data[at] |= 1 << vector % 8
        return reply._replace(payload=reply.payload[: _ACCESS.size] + bytes(data))

    def _set_masked(self, vectors: Iterable[int], masked: bool) -> None:
        if masked:
            self._unmasked.difference_update(vectors)
        else:
            self._unmasked.update(vectors)
            self._deliver()

    def _interrupts(self, asked: Received) -> Received | None:
        told = irq_set.unpack(asked.payload)
        vectors = range(told.start, told.start + told.count)
        if told.index != VFIO_PCI_MSIX_IRQ_INDEX:
            return self._set_irqs(asked)
        if told.action != VFIO_IRQ_SET_ACTION_TRIGGER:
            assert told.data_type == VFIO_IRQ_SET_DATA_NONE
            self._set_masked(vectors, told.action == VFIO_IRQ_SET_ACTION_MASK)
            self.answer(asked)
            return None
        translated = self._set_irqs(asked)
        if told.data_type == VFIO_IRQ_SET_DATA_EVENTFD and asked.fds:
            assert translated is asked
            return asked._replace(
                fds=[self._take(*each) for each in zip(vectors, asked.fds, strict=True)]
            )
        if told.data_type == VFIO_IRQ_SET_DATA_NONE and not told.count:
            self._let_go(list(self._vectors))
        return translated

    def _take(self, vector: int, fd: int) -> int:
        """The eventfd to have the device signal, instead of the client's."""
        self._let_go([vector])
        signalled, theirs = EventFd(), EventFd.from_fd(fd)
        self._vectors[vector] = signalled, theirs

        def came() -> None:
            signalled.read()
            self._pending.add(vector)
            self._deliver()

        self.watched[signalled.fileno()] = came
        return signalled.fileno()

    def _let_go(self, vectors: Iterable[int]) -> None:
        for vector in vectors:
            for eventfd in self._vectors.pop(vector, ()):
                self.watched.pop(eventfd.fileno(), None)
                eventfd.close()

    def _deliver(self) -> None:
        control = self._word(self._msix + PCI_MSIX_FLAGS)
        if not control & PCI_MSIX_FLAGS_ENABLE or control & PCI_MSIX_FLAGS_MASKALL:
            return
        for vector in self._pending & self._unmasked & self._vectors.keys():
            self._pending.remove(vector)
            self._vectors[vector][1].signal()


def _find(config: bytearray, wanted: int) -> int:
    """Where a capability is; 0 if there is none."""
    at = config[PCI_CAPABILITY_LIST]
    while at and config[at] != wanted:
        at = config[at + 1]
    return at
