# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KernelDevice: a PCI device of this host, by the kernel's VFIO."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence

from ...uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_STD_NUM_BARS
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
from ..device import Device, IrqData, IrqInfo, RegionInfo
from ..dma import DmaSpace
from ..errors import DeviceError, HostDeviceUnavailable
from ..features import Cures
from ..host.functions import HostFunction
from ..intervals import Interval
from ..mapping import PAGE_SIZE, Mapping
from . import hot_reset, ioeventfd, queries
from .features import KernelFeatures
from .hot_reset import HotResetInfo
from .irqs import Interrupts
from .kernel_file import KernelFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .dma_logging import KernelDmaLogging
    from .migration import KernelMigration


class KernelDevice(Device):
    """A device of this host; made by open_device() or a DmaSpace.

    Its mappings keep the device open: close them first. Reading or writing them while the
    device's memory space is disabled or it sleeps (Features.enter_low_power()) is SIGBUS.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        dma: DmaSpace,
        release: Callable[[], None],
        kvm_file: int,
        *,
        root: str = "/",
    ) -> None:
        """Take over fd, the device's; release is called once it is closed, in any case.

        name is its BDF, dma what it is attached to, kvm_file the fd of its group, or of itself,
        that KVM wants to know, and root where the host's sys is. Raises VfioError.
        """
        self.root = root
        self.name = name
        self._file = KernelFile(fd, name, on_closed=release)
        self._dma = dma
        self.kvm_file = kvm_file
        """The fd for KVM_DEV_VFIO_FILE_ADD; it stays its owner's."""
        self._features = KernelFeatures(self._file)
        self._irqs = Interrupts(self._file, self.irq_info)
        self._lock = threading.Lock()
        self._region_infos: dict[int, RegionInfo] = {}
        self._irq_infos: dict[int, IrqInfo] = {}
        try:
            self.info = queries.device_info(self._file)
        except BaseException:
            self.close()
            raise

    @property
    def dma(self) -> DmaSpace:
        return self._dma

    # Regions

    @property
    def regions(self) -> tuple[RegionInfo, ...]:
        """All regions, each at its index; one that can't be read has size 0 and a note."""
        return tuple(self.region_info(index) for index in range(self.info.num_regions))

    def region_info(self, index: int) -> RegionInfo:
        self._check_index("region", index, self.info.num_regions)
        with self._lock:
            if index not in self._region_infos:
                self._region_infos[index] = queries.region(self._file, index)
            return self._region_infos[index]

    def _check_index(self, kind: str, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise DeviceError.answered(f"{self.name}: {kind} {index} of {count}", errno.EINVAL)

    def region_fd(self, index: int) -> int:
        return self._file.fileno() if self.region_info(index).areas else -1

    def owns_page(self, index: int) -> bool:
        """Device.owns_page(): vfio-pci lets a BAR smaller than a page be mapped only then.

        It must begin a page, the rest of which vfio-pci reserves, so that no BAR comes there.
        """
        info = self.region_info(index)
        return index < PCI_STD_NUM_BARS and bool(info.areas) and info.size < PAGE_SIZE

    def map_region(self, index: int, area: Interval) -> Mapping:
        with self._file.held:
            return super().map_region(index, area)

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        """Device.region_read(); whether 8 bytes are one access depends on kernel and region."""
        info = self._range(index, offset, size, "reading")
        doing = f"reading {size} bytes at {offset:#x} of region {index}"
        return self._file.pread(size, info.offset + offset, doing=doing, cures=self._why(info))

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        """Device.region_write(); whether 8 bytes are one access depends on kernel and region."""
        info = self._range(index, offset, len(data), "writing")
        doing = f"writing {len(data)} bytes at {offset:#x} of region {index}"
        self._file.pwrite(data, info.offset + offset, doing=doing, cures=self._why(info))

    def _range(self, index: int, offset: int, size: int, verb: str) -> RegionInfo:
        """Check a range; behind its end the file has other regions."""
        info = self.region_info(index)
        if offset < 0 or size < 0 or offset + size > info.size:
            what = f"{self.name}: {verb} {size} bytes at {offset:#x} of region {index}"
            cure = f"it has {info.size:#x} bytes" if info.size else "the device has no such region"
            cure += f" ({info.note})" if info.note else ""
            raise DeviceError.answered(what, errno.EINVAL, cure)
        return info

    def _why(self, info: RegionInfo) -> Cures:
        def cure(number: int) -> str | None:
            if number == errno.EINVAL and not info.writable:
                return "it is read-only"
            if number == errno.EIO and info.index <= VFIO_PCI_ROM_REGION_INDEX:
                command = self.region_read(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2)
                if not int.from_bytes(command, "little") & PCI_COMMAND_MEMORY:
                    return "memory space is disabled: set bit 1 of the command register"
            return "the device couldn't be woken" if number == errno.EIO else None

        return cure

    # Interrupts

    def irq_info(self, index: int) -> IrqInfo:
        self._check_index("interrupt kind", index, self.info.num_irqs)
        with self._lock:
            if index not in self._irq_infos:
                self._irq_infos[index] = queries.irq(self._file, index)
            return self._irq_infos[index]

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        """Device.set_irqs(). Disabling a kind that isn't enabled is no error.

        A call that has more vectors than the kernel has enabled has them all disabled for a
        moment, where VFIO_IRQ_INFO_NORESIZE says so.
        """
        self._irqs.set(index, action, start, count, data)

    def add_ioeventfd(self, index: int, offset: int, size: int, value: int, eventfd: int) -> None:
        """Have the kernel write value, of size bytes, into a BAR whenever eventfd is signalled."""
        info = self._range(index, offset, size, "writing by eventfd")
        ioeventfd.assign(self._file, info.offset + offset, size, value, eventfd)

    def remove_ioeventfd(self, index: int, offset: int, size: int, value: int) -> None:
        """Undo add_ioeventfd()."""
        info = self._range(index, offset, size, "writing by eventfd")
        ioeventfd.assign(self._file, info.offset + offset, size, value, ioeventfd.NONE)

    # The whole device

    @property
    def features(self) -> KernelFeatures:
        return self._features

    @property
    def migration(self) -> KernelMigration:
        from .migration import KernelMigration

        return KernelMigration(self._features)

    @property
    def dma_logging(self) -> KernelDmaLogging:
        from .dma_logging import KernelDmaLogging

        return KernelDmaLogging(self._features)

    def reset(self) -> None:
        """Reset the function alone. Raises DeviceError, which tells what ways of it there are."""
        self._file.ioctl("VFIO_DEVICE_RESET", doing="reset", cures=self._why_not_reset)

    def _why_not_reset(self, number: int) -> str | None:
        if number == errno.EAGAIN:
            return "the function is locked by another reset or a change of its bus: try again"
        if number not in (errno.EINVAL, errno.ENOTTY):
            return None
        try:
            methods = HostFunction(self.name, root=self.root).reset_methods
        except HostDeviceUnavailable:
            methods = ()
        tried = f"has only {', '.join(methods)}, in vain" if methods else "has none in sysfs"
        return f"of reset methods the function {tried}; try hot_reset(), which resets its bus"

    def reset_by_bus(self) -> None:
        """Device.reset_by_bus(). Raises NotReset, DeviceGone."""
        from .resets import reset_alone

        reset_alone(self)

    def hot_reset_info(self) -> HotResetInfo:
        """What a hot reset would reset. Raises DeviceError (ENODEV) where there is none."""
        return hot_reset.query(self._file)

    def hot_reset(self, group_fds: Sequence[int] | None = None) -> None:
        """Reset the bus or slot, and with it all functions that hot_reset_info() tells.

        group_fds are the fds of all their groups; none, if the device is bound to an iommufd as
        they must all be. By default it is what suits a device alone on its bus.
        """
        if group_fds is None:
            group_fds = () if self.hot_reset_info().by_devid else (self.kvm_file,)
        hot_reset.reset(self._file, group_fds)

    def close(self) -> None:
        """Disable its interrupts and let it go; the kernel resets it, if no mapping is left."""
        if not self._file.closed:
            try:
                self._irqs.close()
            finally:
                self._file.close()
