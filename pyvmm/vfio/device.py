# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Device: the one interface to any PCI device, in hardware, in another process, or in Python.

It is the shape of the kernel's VFIO device API (<linux/vfio.h>): regions and interrupts have the
indexes VFIO_PCI_*_INDEX, and flags and actions have the kernel's names and values.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from ..uapi.vfio import (
    VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_IRQ_INFO_AUTOMASKED,
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_TRIGGER,
)
from .capability_chain import InfoCapability
from .dma import DmaSpace
from .errors import DeviceError
from .intervals import Interval
from .mapping import PAGE_SIZE, Mapping, huge_alignment
from .region_info import RegionInfo

if TYPE_CHECKING:
    from .dma_logging import DmaLogging
    from .features import Features
    from .migration import Migration

__all__ = [
    "Device",
    "DeviceInfo",
    "Fds",
    "InfoCapability",
    "IoEventFd",
    "IrqData",
    "IrqInfo",
    "Mapping",
    "RegionInfo",
    "RegionWrite",
]


class DeviceInfo(NamedTuple):
    """What VFIO_DEVICE_GET_INFO tells."""

    flags: int
    num_regions: int
    num_irqs: int
    capabilities: tuple[InfoCapability, ...] = ()

    @property
    def resettable(self) -> bool:
        return bool(self.flags & VFIO_DEVICE_FLAGS_RESET)

    @property
    def pci(self) -> bool:
        return bool(self.flags & VFIO_DEVICE_FLAGS_PCI)

    def capability(self, id: int) -> InfoCapability | None:
        """The first capability with this id (VFIO_DEVICE_INFO_CAP_*), if there is one."""
        return next((c for c in self.capabilities if c.id == id), None)


class IrqInfo(NamedTuple):
    """What VFIO_DEVICE_GET_IRQ_INFO tells of one kind of interrupt; count may be 0."""

    index: int  # type: ignore[assignment]
    flags: int
    count: int  # type: ignore[assignment]

    @property
    def eventfd(self) -> bool:
        """It can signal an eventfd."""
        return bool(self.flags & VFIO_IRQ_INFO_EVENTFD)

    @property
    def maskable(self) -> bool:
        return bool(self.flags & VFIO_IRQ_INFO_MASKABLE)

    @property
    def automasked(self) -> bool:
        """It masks itself when it triggers (INTx), until it is unmasked."""
        return bool(self.flags & VFIO_IRQ_INFO_AUTOMASKED)

    @property
    def noresize(self) -> bool:
        """More vectors can't be enabled without disabling them all first."""
        return bool(self.flags & VFIO_IRQ_INFO_NORESIZE)


class IoEventFd(NamedTuple):
    """A doorbell: a write of size bytes at offset signals fd, and reaches the device so.

    size 0 is any size. datamatch is the one value it answers to, or None for all. The device
    owns the fd.
    """

    offset: int
    size: int
    fd: int
    datamatch: int | None = None


class Fds(tuple[int, ...]):
    """Eventfds for set_irqs(), one for each interrupt; -1 takes away what is there.

    The device takes its own references, as the kernel does: the caller may close its own.
    """

    __slots__ = ()


IrqData = Fds | Sequence[bool] | None
RegionWrite = tuple[int, int, bytes]
"""A region's index, the offset in it, and what is written there"""


class Device(ABC):
    """A device behind VFIO, ready to use; a context manager.

    Safe to call from any thread. Every method raises VfioError: DeviceError when the device
    refuses, DeviceGone once it is no longer there.
    """

    name: str
    """What to call it in messages: its BDF, its socket, its model."""

    info: DeviceInfo

    kvm_file: int = -1
    """The file that KVM is to be told of (KVM_DEV_VFIO_FILE_ADD); -1 if there is none.

    A device of the kernel's VFIO has one: its group's, or its cdev.
    """

    @property
    @abstractmethod
    def dma(self) -> DmaSpace:
        """What its DMA reaches."""

    @abstractmethod
    def region_info(self, index: int) -> RegionInfo:
        """Tell of a region; a size of 0 says that it isn't there."""

    @abstractmethod
    def irq_info(self, index: int) -> IrqInfo:
        """Tell of a kind of interrupt; a count of 0 says that there are none."""

    @abstractmethod
    def region_read(self, index: int, offset: int, size: int) -> bytes:
        """Read size bytes; one access of that width, if it is 1, 2, 4 or 8."""

    @abstractmethod
    def region_write(self, index: int, offset: int, data: bytes) -> None:
        """Write the bytes; one access of their width, if it is 1, 2, 4 or 8."""

    def region_write_multi(self, writes: Sequence[RegionWrite]) -> None:
        """Do many writes in their order, as region_write() would, up to one that fails."""
        for index, offset, data in writes:
            self.region_write(index, offset, data)

    def region_fd(self, index: int) -> int:
        """The file whose bytes are the region's mappable areas, at info.offset + area.

        It stays the device's; -1 if there is none.
        """
        return -1

    def owns_page(self, index: int) -> bool:
        """Whether a region smaller than a page has the rest of its page for itself.

        Then all of the page may be mapped: there is nobody else's in it.
        """
        return False

    def map_region(self, index: int, area: Interval) -> Mapping:
        """Map a page-aligned part of one of the region's areas. The caller closes it."""
        info = self.region_info(index)
        what = f"{self.name}: mapping {area} of region {index}"
        areas = info.areas
        if self.owns_page(index):
            areas = (Interval(0, PAGE_SIZE),)
        if area.start >= area.end or not any(whole.covers(area) for whole in areas):
            raise DeviceError.answered(what, errno.EINVAL, "it is not in a mappable area")
        fd = self.region_fd(index)
        if fd < 0:
            raise DeviceError.answered(what, errno.ENODEV, "the region has no file to map")
        return Mapping(
            fd,
            info.offset + area.start,
            area.size,
            writable=info.writable,
            what=what,
            alignment=huge_alignment(info.size),
            skew=area.start,
        )

    def ioeventfds(self, index: int) -> Sequence[IoEventFd]:
        """The doorbells of a region that may be rung by eventfd instead of region_write()."""
        return ()

    def revoke_ioeventfds(self) -> None:  # noqa: B027 (few devices can, none has to)
        """Have the doorbells that ioeventfds() gave out so far reach the device no more.

        For those whose user is gone, and may have kept copies of the eventfds: the next
        ioeventfds() tells of new ones. A device that has none, or can't, does nothing.
        """

    @abstractmethod
    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        """Act on interrupts [start, start + count) of one kind (VFIO_DEVICE_SET_IRQS).

        action is one VFIO_IRQ_SET_ACTION_*. With None it is done to all of them; with
        booleans to those that are true; with Fds they become what is signalled by, or for
        MASK and UNMASK what causes, the action. TRIGGER with count 0 and None disables the
        whole kind.
        """

    def set_triggers(self, index: int, start: int, fds: Sequence[int]) -> None:
        """Have the interrupts from start on signal these eventfds; -1 for none."""
        self.set_irqs(index, VFIO_IRQ_SET_ACTION_TRIGGER, start, len(fds), Fds(fds))

    def disable_irqs(self, index: int) -> None:
        """Disable all interrupts of a kind, and forget their eventfds."""
        self.set_irqs(index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, None)

    @abstractmethod
    def reset(self) -> None:
        """Reset the device's function; its DMA mappings stay."""

    def reset_by_bus(self) -> None:
        """Reset it as a reset of its bus would, and no other device with it.

        Raises DeviceError where there is no way to.
        """
        if not self.info.resettable:
            raise DeviceError.answered(f"{self.name}: reset", errno.ENOTTY, "it has none")
        self.reset()

    # Late imports: most who use a device want nothing of this.

    @property
    def features(self) -> Features:
        """What it can do beyond the rest (VFIO_DEVICE_FEATURE)."""
        from .device_features import DeviceFeatures

        return DeviceFeatures(self)

    @property
    def migration(self) -> Migration:
        """Its state in and out. Raises DeviceError (ENOTTY) if it can't migrate."""
        from .features import lacking

        raise lacking(self.name, "migration", "the device hasn't got it")

    @property
    def dma_logging(self) -> DmaLogging:
        """What it writes to memory, noted. Raises DeviceError (ENOTTY) if it can't."""
        from .features import lacking

        raise lacking(self.name, "logging its DMA", "its IOMMU may do it instead: see dma.dirty")

    @abstractmethod
    def close(self) -> None:
        """Let the device go. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
