# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Model: the class that a PCI device written in Python derives from.

A model says what it is by declaration (identity, capabilities, BARs with their registers) and
what it does by methods; `models/edu.py` is the example to read. To those who use the device it
is a `vfio.Device` like any other, with the manners of the kernel's vfio-pci.

Two rules keep a model simple:

* Its methods for registers, timers and resets run one at a time, with `lock` held, and are
  short: a vCPU may be waiting.
* What takes long (computing, DMA, files) is work for `start`, and runs without the lock.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from pyvmm.uapi.pci_regs import (
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_MASTER,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_BCR_FLR,
    PCI_MSIX_ENTRY_CTRL_MASKBIT,
    PCI_MSIX_ENTRY_VECTOR_CTRL,
    PCI_STATUS,
    PCI_STATUS_INTERRUPT,
)
from pyvmm.uapi.vfio import (
    VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
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
    DmaFault,
    IoEventFd,
    IrqData,
    IrqInfo,
    RegionInfo,
)
from pyvmm.vfio.software.dma_table import DmaTable

from .activity import Activity, DmaView
from .capabilities import Capability
from .complaints import Complaints
from .doorbells import Doorbells
from .file_dma import Segment, read_file, write_file
from .interrupts import Interrupts
from .layout import Identity, Layout
from .regions import Bar, BarRegion, Ram
from .registers import Doorbell, Register

if TYPE_CHECKING:
    from pyvmm.vfio.software.dma_log import DmaLog

    from .migration import ModelMigration

T = TypeVar("T")


class Model(Device):
    """Base of PCI devices written in Python; a context manager, as every Device."""

    # What a model declares, on its class, or in its __init__ before the base's.
    identity: Identity
    capabilities: Sequence[Capability] = ()
    interrupt_pin: int = 0
    """1 to 4 for INTA to INTD; 0 for a device without INTx"""
    workers: int = 1
    """how many pieces of work are done at a time"""
    waiters: int = 4
    """and how many of those that wait for others: see start()"""

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
            layout.msix_pending.on_read(Model._read_pending)
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
            Model.close(self)  # a derived class's own expects more than there is yet
            raise
        self._reset_registers()

    # What a model does with itself.

    def signal(self, vector: int) -> None:
        """Send a vector of MSI-X or MSI, whichever the device's user has turned on.

        Nothing is sent while neither is, or while bus mastering is off: a message is a write.
        """
        with self.lock:
            if not (self.bus_master and self._interrupts.signal(vector)):
                self.counters["messages not sent"] += 1

    def set_intx(self, level: bool) -> None:
        """Raise or lower the INTx line. The status register shows it, on or not."""
        with self.lock:
            status = self.config.u16(PCI_STATUS) & ~PCI_STATUS_INTERRUPT
            self.config.set_u16(PCI_STATUS, status | (PCI_STATUS_INTERRUPT if level else 0))
            self._interrupts.intx.set_level(level)

    @property
    def irq_mode(self) -> int:
        """VFIO_PCI_{MSIX,MSI,INTX}_IRQ_INDEX: what is turned on; INTX also if nothing is."""
        mode = self._interrupts.mode
        return VFIO_PCI_INTX_IRQ_INDEX if mode is None else mode

    @property
    def bus_master(self) -> bool:
        """Whether the device may send memory requests: DMA and messages."""
        return bool(self.config.u16(PCI_COMMAND) & PCI_COMMAND_MASTER)

    def offer_doorbells(self, bar: Bar, doorbells: Iterable[Doorbell]) -> None:
        """Offer the device's user more doorbells than `bar` declares, before it asks for them.

        They may lie over a trapped area: a write that is no eventfd's is the area's still.
        """
        self._doorbells.offer(bar.index, doorbells)

    def call_later(self, seconds: float, method: Callable[[], None]) -> None:
        """Call a short `method` after so many seconds, unless the device is reset before."""
        self._activity.call_later(seconds, method)

    def start(
        self,
        work: Callable[[], T],
        done: Callable[[T], None] | None = None,
        *,
        waits: bool = False,
    ) -> None:
        """Have `work` done by the model's worker, without the lock, then call `done` with what
        it returned, with the lock. A reset in between drops what is left of it.

        One piece is done after the other, or up to `workers` of them at a time. What `waits`, for
        files say, holds none of these up: up to `waiters` such pieces are done besides.
        """
        self._activity.start(work, done, waits=waits)

    def dma_read(self, iova: int, size: int) -> bytes:
        """Read memory, in work given to `start`. Raises DmaFault."""
        return self._activity.dma(lambda: self._dma.read(iova, size, self._check_dma))

    def dma_write(self, iova: int, data: bytes | memoryview) -> None:
        """Write memory, in work given to `start`. Raises DmaFault."""
        self._activity.dma(lambda: self._dma.write(iova, data, self._check_dma))

    def dma_view(
        self, iova: int, size: int, *, write: bool = False
    ) -> AbstractContextManager[memoryview | None]:
        """The memory itself, in work given to `start`, for data that would be copied once more
        otherwise; None where only `dma_read` and `dma_write` reach. It is good for one short
        `with` block, for whose end resets, stops and unmaps wait. Raises DmaFault.
        """
        return DmaView(
            self._activity,
            lambda: self._dma.view(iova, size, write=write, check=self._check_dma),
        )

    def dma_from_file(
        self,
        fd: int,
        offset: int,
        segments: Sequence[Segment],
        flags: int = 0,
        *,
        straight: bool = False,
    ) -> int:
        """Read a file at an offset into memory, in work given to `start`: into the segments, each
        an IOVA and a number of bytes, 1 MiB at a time.

        `flags` are preadv2's; with RWF_NOWAIT it raises BlockingIOError where it would wait.
        `straight` is for what never waits, with that flag or as the file is in memory: it goes
        by no buffer if `dma_view` has the memory, and resets, stops and unmaps wait for it.
        Returns the bytes moved, less than asked for at the end of the file. Raises DmaFault,
        OSError; some may have moved then.
        """
        return read_file(self, fd, offset, segments, flags, straight)

    def dma_to_file(
        self,
        fd: int,
        offset: int,
        segments: Sequence[Segment],
        flags: int = 0,
        *,
        straight: bool = False,
    ) -> int:
        """Write memory to a file, in work given to `start`; as `dma_from_file`, by pwritev(2)."""
        return write_file(self, fd, offset, segments, flags, straight)

    def _check_dma(self, iova: int, size: int) -> None:
        self._activity.check_dma(iova, size)
        if not self.bus_master:
            raise DmaFault(iova, size, "bus mastering is off")

    def on_reset(self) -> None:
        """For models to override: put back what is not in registers, which already are."""

    def figures(self) -> Mapping[str, int]:
        """For models to override: what they have done that people may want to know, by name."""
        return {}

    migratable: bool = True
    """False for a model that has state besides, and no on_save()"""
    state_version: int = 1
    """of what on_save() returns, and of what the registers mean: no other can be restored"""

    def on_save(self) -> bytes:
        """For models to override: what else there is to their state than registers and RAM.

        Timers and work under way are no state: registers, or this, tell what is under way.
        """
        return b""

    def on_restore(self, data: bytes) -> None:
        """For models to override: take what on_save() returned; all else is restored already.

        Begin anew what was under way: it begins when the device runs. Raise ValueError for
        what can't be true: the data may be anybody's.
        """

    def guest_error(self, what: str) -> None:
        """Count what a driver did wrong, and log it when it is the first of its kind."""
        self._complaints.warn(what)

    # What users of the device do with it.

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
        A model's own methods must not call it: it waits for DMA and doorbells under way.
        """
        migration = self._migration
        with migration.lock if migration else nullcontext():
            with self.lock:
                self._check_open()
            # What was rung before happened before: it must not act on the registers of after.
            self._activity.settle()
            self._activity.drop()
            self._dma.drain()
            with self.lock:
                # Accesses may have begun something anew while this waited.
                self._activity.drop()
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
