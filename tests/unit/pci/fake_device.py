# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VFIO device that is not there, but behaves as vfio-pci's do, and keeps a log."""

from __future__ import annotations

import errno
import os
import threading

from pyvmm.uapi.vfio import (
    VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_IRQ_INFO_AUTOMASKED,
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS,
    VFIO_PCI_ROM_REGION_INDEX,
    VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from pyvmm.vfio import (
    Device,
    DeviceError,
    DeviceInfo,
    DmaSpace,
    EventFd,
    Fds,
    Interval,
    IoEventFd,
    IrqData,
    IrqInfo,
    RegionInfo,
    TooFewVectors,
    VfioError,
)
from tests.unit.pci.fake_vm import Call

INTX, MSI, MSIX = VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
ROM = VFIO_PCI_ROM_REGION_INDEX
READ_WRITE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE


class _Kind:
    """One kind of interrupt, as vfio-pci and the hardware behind it have it."""

    def __init__(self, flags: int, count: int) -> None:
        self.flags = flags
        self.count = count
        self.enabled = 0  # vectors
        self.triggers: dict[int, EventFd] = {}
        self.latched: set[int] = set()  # raised, without a trigger


class FakeDevice(Device):
    """A device whose registers are bytes, with the manners of vfio-pci."""

    def __init__(self, *, msix: int = 0, msi: int = 0, intx: int = 0, noresize: bool = False):
        self.name = "fake"
        self.info = DeviceInfo(
            VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS
        )
        self.log: list[Call] = []
        """Calls of set_irqs() and reset()"""
        self.accesses: list[Call] = []
        self.config = bytearray(4096)
        self.config[0:4] = 0x34, 0x12, 0x78, 0x56
        self.regions: dict[int, RegionInfo] = {}
        self.contents: dict[int, bytearray] = {}
        self.pba: tuple[int, int] | None = None
        """Its region and offset, where what MSI-X holds back is to be read"""
        self.bells: dict[int, list[IoEventFd]] = {}
        self.refuse: VfioError | None = None
        """What any access is answered with"""
        self.refuse_irqs: Exception | None = None
        self.refuse_triggers: VfioError | None = None
        self.line_is_taken = False
        """Whether its line is shared on the host, and it can't mask itself"""
        self.vectors_left = 4096
        """How many the host can give it, and says so"""
        self.handlers_left = 4096
        """How many of them can signal, which is found out later"""
        self.takes_unmask_fd = True
        self.takes_mask = True
        self.unmasked = threading.Semaphore(0)
        """Released for each message that unmasks, once that has had its effect"""
        self.line = False  # INTx
        self.line_masked = False
        self.unmask_fd: EventFd | None = None
        level = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
        resize = VFIO_IRQ_INFO_NORESIZE if noresize else 0
        self.kinds = {
            INTX: _Kind(level, intx),
            MSI: _Kind(VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, msi),
            MSIX: _Kind(VFIO_IRQ_INFO_EVENTFD | resize, msix),
        }
        self._memfds: dict[int, int] = {}

    # Making it what a test needs

    def add_region(
        self,
        index: int,
        size: int,
        *,
        register: int | None = None,
        mappable: tuple[Interval, ...] = (),
    ) -> None:
        """A BAR; register is the one in configuration space, with its type bits."""
        flags = READ_WRITE | (VFIO_REGION_INFO_FLAG_MMAP if mappable else 0)
        self.regions[index] = RegionInfo(index, flags, size, 0, mappable)
        self.contents[index] = bytearray(size)
        if register is not None:
            self.config[0x10 + 4 * index] = register
        if mappable:
            self._memfds[index] = fd = os.memfd_create(f"region {index}")
            os.truncate(fd, -(-size // 4096) * 4096)

    def add_capability(self, at: int, body: bytes) -> None:
        """Add a capability (id first, next included) at the head of the chain."""
        self.config[at : at + len(body)] = body
        self.config[at + 1] = self.config[0x34]
        self.config[0x34] = at
        self.config[6] |= 0x10

    # Device

    @property
    def dma(self) -> DmaSpace:
        raise NotImplementedError

    def region_info(self, index: int) -> RegionInfo:
        if index == VFIO_PCI_CONFIG_REGION_INDEX:
            return RegionInfo(index, READ_WRITE, len(self.config))
        return self.regions.get(index, RegionInfo(index, 0, 0))

    def region_fd(self, index: int) -> int:
        return self._memfds.get(index, -1)

    def irq_info(self, index: int) -> IrqInfo:
        kind = self.kinds.get(index)
        return IrqInfo(index, kind.flags, kind.count) if kind else IrqInfo(index, 0, 0)

    def _content(self, index: int) -> bytearray:
        if self.refuse:
            raise self.refuse
        return self.config if index == VFIO_PCI_CONFIG_REGION_INDEX else self.contents[index]

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        self.accesses.append(("read", index, offset, size))
        content = self._content(index)
        assert offset + size <= len(content)
        data = bytearray(content[offset : offset + size])
        if self.pba and self.pba[0] == index:
            for vector in self.kinds[MSIX].latched:
                at = self.pba[1] + vector // 8 - offset
                if 0 <= at < size:
                    data[at] |= 1 << vector % 8
        return bytes(data)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        self.accesses.append(("write", index, offset, int.from_bytes(data, "little"), len(data)))
        content = self._content(index)
        assert offset + len(data) <= len(content)
        content[offset : offset + len(data)] = data

    def ioeventfds(self, index: int) -> list[IoEventFd]:
        return self.bells.get(index, [])

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        names = {
            VFIO_IRQ_SET_ACTION_TRIGGER: "trigger",
            VFIO_IRQ_SET_ACTION_MASK: "mask",
            VFIO_IRQ_SET_ACTION_UNMASK: "unmask",
        }
        what = [fd >= 0 for fd in data] if isinstance(data, Fds) else data
        self.log.append((names[action], index, start, count, what))
        if action == VFIO_IRQ_SET_ACTION_UNMASK and data is None:
            try:
                self._set_irqs(index, action, start, count, data)
            finally:
                self.unmasked.release()
        else:
            self._set_irqs(index, action, start, count, data)

    def _set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        if self.refuse_irqs:
            raise self.refuse_irqs
        kind = self.kinds[index]
        if start + count > kind.count:
            raise DeviceError.answered("range", errno.EINVAL)
        if action == VFIO_IRQ_SET_ACTION_UNMASK:
            self._unmask(kind, data)
        elif action == VFIO_IRQ_SET_ACTION_MASK:
            if not self.takes_mask:
                raise DeviceError.answered("masking", errno.EINVAL)
            self.line_masked = True
        elif isinstance(data, Fds):
            self._set_triggers(index, kind, start, data)
        else:
            assert data is None
            assert count == 0
            if not kind.enabled:
                raise DeviceError.answered("disabling what is off", errno.EINVAL)
            self._disable(kind)

    def _set_triggers(self, index: int, kind: _Kind, start: int, fds: Fds) -> None:
        if self.refuse_triggers:
            raise self.refuse_triggers
        if index == INTX and self.line_is_taken:
            raise DeviceError.answered("triggers of INTx", errno.EBUSY)
        if any(other.enabled for i, other in self.kinds.items() if i != index):
            raise DeviceError.answered("another kind is on", errno.EINVAL)
        end = start + len(fds)
        if kind.enabled and end > kind.enabled and kind.flags & VFIO_IRQ_INFO_NORESIZE:
            raise DeviceError.answered("more than were enabled", errno.EINVAL)
        if not kind.enabled and end > self.vectors_left:
            raise TooFewVectors("triggers", self.vectors_left)
        more = sum(fd >= 0 and vector not in kind.triggers for vector, fd in enumerate(fds, start))
        if len(kind.triggers) + more > self.handlers_left:
            # What the call was to set it takes back, and if it was the first, all.
            for vector in range(start, end):
                if vector in kind.triggers:
                    kind.triggers.pop(vector).close()
            raise DeviceError.answered("triggers", errno.ENOSPC)
        kind.enabled = max(kind.enabled, end)
        for vector, fd in enumerate(fds, start):
            old = kind.triggers.pop(vector, None)
            if old:
                old.close()
            if fd >= 0:
                kind.triggers[vector] = EventFd.from_fd(fd)
                if vector in kind.latched:
                    kind.latched.remove(vector)
                    kind.triggers[vector].signal()
        if index == INTX:
            self._drive()

    def _disable(self, kind: _Kind) -> None:
        kind.enabled = 0
        kind.latched.clear()
        for trigger in kind.triggers.values():
            trigger.close()
        kind.triggers.clear()
        if kind is self.kinds[INTX]:
            self.line_masked = False
            if self.unmask_fd:
                self.unmask_fd.close()
                self.unmask_fd = None

    def _unmask(self, kind: _Kind, data: IrqData) -> None:
        if kind is not self.kinds[INTX] or not kind.enabled:
            raise DeviceError.answered("unmask", errno.ENOTTY)
        if isinstance(data, Fds):
            if not self.takes_unmask_fd:
                raise DeviceError.answered("unmask by eventfd", errno.ENOTTY)
            assert self.unmask_fd is None
            self.unmask_fd = EventFd.from_fd(data[0])
            self.run()
        else:
            self.line_masked = False
            self._drive()

    def reset(self) -> None:
        self.log.append(("reset",))

    def close(self) -> None:
        for kind in self.kinds.values():
            self._disable(kind)
        while self._memfds:
            os.close(self._memfds.popitem()[1])

    # What the device does by itself

    def signal(self, vector: int, index: int = MSIX) -> bool:
        """Raise a vector; False if that kind of interrupt is off."""
        kind = self.kinds[index]
        if not kind.enabled:
            return False
        if vector in kind.triggers:
            kind.triggers[vector].signal()
        else:
            kind.latched.add(vector)
        return True

    def set_line(self, level: bool) -> None:
        self.line = level
        self._drive()

    def _drive(self) -> None:
        kind = self.kinds[INTX]
        if self.line and 0 in kind.triggers and not self.line_masked:
            self.line_masked = True
            kind.triggers[0].signal()

    def run(self) -> None:
        """What vfio-pci does as soon as the unmask eventfd is signalled."""
        if self.unmask_fd and self.unmask_fd.read():
            self.line_masked = False
            self._drive()
