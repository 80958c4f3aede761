# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Model: the class that a PCI device written in Python derives from.

A model says what it is by declaration (identity, capabilities, BARs with their registers) and
what it does by methods; `models/edu.py` is the example to read. What it is to those who use the
device is in `model_device.py`.

Two rules keep a model simple:

* Its methods for registers, timers and resets run one at a time, with `lock` held, and are
  short: a vCPU may be waiting.
* What takes long (computing, DMA, files) is work for `start`, and runs without the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from pyvmm.uapi.pci_regs import (
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_STATUS,
    PCI_STATUS_INTERRUPT,
)
from pyvmm.uapi.vfio import VFIO_PCI_INTX_IRQ_INDEX
from pyvmm.vfio import DmaFault

from .activity import DmaView
from .capabilities import Capability
from .file_dma import Segment, read_file, write_file
from .layout import Identity
from .model_device import ModelDevice
from .options import Option
from .regions import Bar
from .registers import Doorbell

T = TypeVar("T")


class Model(ModelDevice):
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
    options: Sequence[Option] = ()
    """what a config or a command line may say of it; each is an argument of __init__, by name"""

    # What a model does with itself.

    def signal(self, vector: int) -> None:
        """Send a vector of MSI-X or MSI, whichever the device's user has turned on.

        Nothing is sent while neither is, or while bus mastering is off: a message is a write. Nor
        is a vector that the model doesn't declare, of which the first is logged.
        """
        with self.lock:
            if not 0 <= vector < self._interrupts.vectors:
                self._complaints.warn(f"signals beyond its {self._interrupts.vectors} vectors")
            elif not (self.bus_master and self._interrupts.signal(vector)):
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

    def _check_dma(self, iova: int, size: int) -> None:
        self._activity.check_dma(iova, size)
        if not self.bus_master:
            raise DmaFault(iova, size, "bus mastering is off")
