# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ModelDevice: a model as those see it who use it: a `vfio.Device`, like any other.

It has the manners of the kernel's vfio-pci. What it is, and does, its `Model` says.
"""

from __future__ import annotations

import errno
import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pyvmm.uapi.pci_regs import (
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_BCR_FLR,
    PCI_MSIX_ENTRY_CTRL_MASKBIT,
    PCI_MSIX_ENTRY_VECTOR_CTRL,
)
from pyvmm.uapi.vfio import (
    VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS,
    VFIO_PCI_ROM_REGION_INDEX,
)
from pyvmm.vfio import (
    Device,
    DeviceError,
    DeviceGone,
    DeviceInfo,
    IoEventFd,
    IrqData,
    IrqInfo,
    RegionInfo,
)
from pyvmm.vfio.software.dma_table import DmaTable

from .activity import Activity
from .capabilities import Capability
from .complaints import Complaints
from .doorbells import Doorbells
from .interrupts import Interrupts
from .layout import Identity, Layout
from .regions import BarRegion, Ram
from .registers import Register

if TYPE_CHECKING:
    from pyvmm.vfio.software.dma_log import DmaLog

    from .migration import ModelMigration


class ModelDevice(Device):
    """The half of a model that is the device; a context manager, as every Device."""

    # What Model says of it.
    identity: Identity
    capabilities: Sequence[Capability]
    interrupt_pin: int
    workers: int
    waiters: int
    migratable: bool
    state_version: int

    @abstractmethod
    def set_intx(self, level: bool) -> None:
        """Raise or lower the INTx line."""

    @abstractmethod
    def guest_error(self, what: str) -> None:
        """Count what a driver did wrong, and log it when it is the first of its kind."""

    @abstractmethod
    def on_reset(self) -> None:
        """Put back what is not in registers."""

    @abstractmethod
    def on_save(self) -> bytes:
        """What else there is to its state than registers and RAM."""

    @abstractmethod
    def on_restore(self, data: bytes) -> None:
        """Take what on_save() returned. Raises ValueError."""

    def __init__(self, name: str = "") -> None:
        """`name` is what messages call it. Raises ModelError, or ValueError for declarations
        that contradict each other.
        """
        self.name = name or type(self).__name__.lower()
        self.lock = threading.RLock()
        self._complaints = Complaints(self.name, self.lock)
        self.counters = self._complaints.counters
        """what happened that shouldn't: reads of nothing, refused DMA and so on"""
        self.values: dict[Register, int] = {}
        self.ram: dict[Ram, memoryview] = {}
        self._closed = False
        self._dma = DmaTable()
        self._activity = Activity(
            self.name,
            self.lock,
            self._complaints.bug,
            workers=self.workers,
            waiters=self.waiters,
        )
        self._migration: ModelMigration | None = None
        self._dma_log: DmaLog | None = None
        self._bars: dict[int, BarRegion] = {}
        self._doorbells = Doorbells(self, self._activity)
        layout = Layout(self)
        self._layout = layout
        self.config = layout.config
        self._interrupts = Interrupts(
            self.name,
            self.lock,
            self._activity.events,
            intx=bool(self.interrupt_pin),
            msi=layout.msi_vectors,
            msix=layout.msix_vectors,
        )
        if layout.msix_pending:
            layout.msix_pending.on_read(ModelDevice._read_pending)
        self.info = DeviceInfo(
            VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
            VFIO_PCI_NUM_REGIONS,
            VFIO_PCI_NUM_IRQS,
        )
        self._region_infos = layout.region_infos()
        try:
            for index, bar in layout.bars.items():
                self._bars[index] = region = BarRegion(bar, layout.areas[index], self.name)
                self._region_infos[index] = region.info
                self.ram.update(region.ram)
        except BaseException:
            ModelDevice.close(self)  # a derived class's own expects more than there is yet
            raise
        self._reset_registers()

    @property
    def dma(self) -> DmaTable:
        return self._dma

    def region_info(self, index: int) -> RegionInfo:
        if not 0 <= index < VFIO_PCI_NUM_REGIONS:
            raise self._refused(f"asking about region {index}", "there is none")
        return self._region_infos[index]

    def region_fd(self, index: int) -> int:
        region = self._bars.get(index)
        return region.fd if region else -1

    def owns_page(self, index: int) -> bool:
        region = self._bars.get(index)
        return region is not None and region.owns_page

    def irq_info(self, index: int) -> IrqInfo:
        return self._interrupts.info(index)

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        with self.lock:
            self._check_open()
            self._interrupts.set(index, action, start, count, data)

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        info = self.region_info(index)
        if not 0 <= offset < offset + size <= info.size:
            raise self._refused(f"reading {offset:#x}+{size:#x} of region {index}", _within(info))
        with self.lock:
            self._check_open()
            if index == VFIO_PCI_CONFIG_REGION_INDEX:
                return bytes(self.config.data[offset : offset + size])
            if index == VFIO_PCI_ROM_REGION_INDEX:
                return self._layout.rom[offset : offset + size]
            region = self._bars[index]
            pieces = region.cut(offset, size)
            if len(pieces) == 1:  # as a bus carries it
                return self._read(region, offset, size).to_bytes(size, "little")
            return b"".join(
                self._read(region, at, length).to_bytes(length, "little") for at, length in pieces
            )

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        info = self.region_info(index)
        size = len(data)
        if not (0 <= offset < offset + size <= info.size and info.writable):
            raise self._refused(f"writing {offset:#x}+{size:#x} of region {index}", _within(info))
        with self.lock:
            self._check_open()
            if self._migration and self._migration.saving:
                raise self._refused(f"writing region {index}", "its state is being saved")
            if index == VFIO_PCI_CONFIG_REGION_INDEX:
                self.config.write(offset, size, int.from_bytes(data, "little"))
                reset = self._config_written()
            else:
                reset = False
                region = self._bars[index]
                for at, length in region.cut(offset, size):
                    piece = data[at - offset : at - offset + length]
                    self._write(region, at, length, int.from_bytes(piece, "little"))
        if reset:
            self.reset()

    def ioeventfds(self, index: int) -> Sequence[IoEventFd]:
        with self.lock:
            self._check_open()
            bar = self._layout.bars.get(index)
            return self._doorbells.of(bar) if bar else ()

    def revoke_ioeventfds(self) -> None:
        with self.lock:
            self._doorbells.revoke()

    def reset(self) -> None:
        """Registers get their reset values, timers and work are dropped, interrupts withdrawn.

        As with the kernel's reset, which saves and restores them, configuration space and the
        interrupts that are turned on stay. RAM does too. No DMA of before comes after this. A
        migration ends, and the device runs.
        A model's own methods must not call it: it waits for DMA under way.
        """
        migration = self._migration
        with migration.lock if migration else nullcontext():
            with self.lock:
                self._check_open()
            # What was rung before happened before: it must not act on the registers of after.
            self._activity.drop_all()
            self._dma.drain()
            with self.lock:
                # Accesses and doorbells may have begun something anew while this waited.
                self._activity.drop_all()
                self.set_intx(False)
                for messages in self._interrupts.messages.values():
                    messages.pending.clear()
                self._reset_registers()
                self._activity.guarded(self.on_reset)
            if migration:
                migration.was_reset()

    # Late imports: most models never migrate.

    @property
    def migration(self) -> ModelMigration:
        with self.lock:
            self._check_open()
            if not self.migratable:
                from pyvmm.vfio.features import lacking

                raise lacking(self.name, "migrating", "the model can't save all of its state")
            if self._migration is None:
                from .migration import ModelMigration
                from .saved_state import States

                states = States(self, self._layout, self._interrupts)
                self._migration = ModelMigration(self, self._activity, self._interrupts, states)
            return self._migration

    @property
    def dma_logging(self) -> DmaLog:
        with self.lock:
            self._check_open()
            if self._dma_log is None:
                from pyvmm.vfio.software.dma_log import DmaLog

                self._dma_log = DmaLog(self.name, self._dma)
            return self._dma_log

    def close(self) -> None:
        """End the model's threads and let go of all that it holds. Idempotent."""
        with self.lock:
            self._closed = True
        self._activity.close()
        with self.lock:
            self._interrupts.close()
            self._doorbells.revoke()
            self.ram.clear()
            for region in self._bars.values():
                region.close()
            self._dma.close()

    # How it works inside.

    def _read(self, region: BarRegion, offset: int, size: int) -> int:
        found = region.find(offset, size)
        if found:
            part, at = found
            try:
                value = part.read(self, at, size)
            except Exception as error:
                self._complaints.bug(error)
                value = None
            if value is not None:
                return value
        self.counters["reads of nothing"] += 1
        return (1 << 8 * size) - 1

    def _write(self, region: BarRegion, offset: int, size: int, value: int) -> None:
        found = region.find(offset, size)
        if found:
            part, at = found
            try:
                if part.write(self, at, size, value):
                    return
            except Exception as error:
                self._complaints.bug(error)
        self.counters["writes to nothing"] += 1

    def _config_written(self) -> bool:
        """Follow what the configuration space says now; True if it asks for a reset."""
        disabled = bool(self.config.u16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE)
        if disabled != self._interrupts.intx.disabled:
            self._interrupts.intx.set_disabled(disabled)
        if not self._layout.express:
            return False
        offset = self._layout.express + PCI_EXP_DEVCTL
        control = self.config.u16(offset)
        self.config.set_u16(offset, control & ~PCI_EXP_DEVCTL_BCR_FLR)
        return bool(control & PCI_EXP_DEVCTL_BCR_FLR)

    def _reset_registers(self) -> None:
        for bar in self._layout.bars.values():
            for register in bar.registers:
                self.values[register] = register.reset
        table = self._layout.msix_table
        if table:
            control = PCI_MSIX_ENTRY_CTRL_MASKBIT.to_bytes(4, "little")
            entry = bytes(PCI_MSIX_ENTRY_VECTOR_CTRL) + control
            self.ram[table][:] = entry * self._layout.msix_vectors

    def _read_pending(self, at: int, size: int) -> int:
        pending = self._interrupts.messages[VFIO_PCI_MSIX_IRQ_INDEX].pending
        return sum(1 << vector for vector in pending) >> 8 * at

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceGone(f"{self.name}: it is closed")

    def _refused(self, what: str, why: str) -> DeviceError:
        return DeviceError.answered(f"{self.name}: {what}", errno.EINVAL, why)


def _within(info: RegionInfo) -> str:
    access = "" if info.writable else ", read-only"
    return f"it has {info.size:#x} bytes{access}"
