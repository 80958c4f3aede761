# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PciDevice: a PCI device as its driver sees it, wherever the device is."""

from __future__ import annotations

import contextlib
import os
import threading
from contextlib import ExitStack
from typing import Self

from ...uapi.pci_regs import PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from ...uapi.vfio import (
    VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX,
    VFIO_PCI_ROM_REGION_INDEX,
)
from ..device import Device
from ..dma import DmaSpace
from ..errors import VfioError
from .bars import Bar
from .config import Config
from .decoding import Decoding
from .interrupts import Interrupts
from .loss import Loss

_NUM_BARS = VFIO_PCI_ROM_REGION_INDEX - VFIO_PCI_BAR0_REGION_INDEX
_DECODE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY


class PciDevice:
    """Owns a `Device`, and has what a driver needs of it; a context manager.

    The device answers at its BARs, and may do DMA, from the beginning to close(), which ends
    both, its interrupts and its mapped BARs, and then lets the device go.
    """

    def __init__(
        self, device: Device, loss: Loss | None = None, *, bus_master: bool = True
    ) -> None:
        """Take over a device; what notices that it has gone tells `loss`.

        Without bus_master it can do no DMA and send no MSI, until `config.bus_master` is set.
        Raises VfioError.
        """
        self.device = device
        """the device by VFIO's own interface, for what is not here"""
        self.name = device.name
        self._closed = False
        self._pid = os.getpid()
        with ExitStack() as undo:
            undo.callback(device.close)
            self.config = Config(device)
            self._decoding = Decoding(self.config)
            self.config.around_writes(self._decoding.changing)
            self._command = self.config.command
            self._on = _DECODE | (PCI_COMMAND_MASTER if bus_master else 0)
            self._turn_on()
            self.bars = tuple(self._bar(index) for index in range(_NUM_BARS))
            """BARs 0 to 5; `size` is 0 where there is none"""
            self.rom = Bar(device, VFIO_PCI_ROM_REGION_INDEX, "ROM", 0, self._decoding.add)
            common = loss or Loss(), threading.RLock()
            self.intx = Interrupts(device, VFIO_PCI_INTX_IRQ_INDEX, "INTx", *common)
            self.msi = Interrupts(device, VFIO_PCI_MSI_IRQ_INDEX, "MSI", *common)
            self.msix = Interrupts(device, VFIO_PCI_MSIX_IRQ_INDEX, "MSI-X", *common)
            self.err = Interrupts(device, VFIO_PCI_ERR_IRQ_INDEX, "error notice", *common)
            self.req = Interrupts(device, VFIO_PCI_REQ_IRQ_INDEX, "request to let go", *common)
            undo.pop_all()
        self.intx.rivals = (self.msi, self.msix)
        self.msi.rivals = (self.intx, self.msix)
        self.msix.rivals = (self.intx, self.msi)

    def _bar(self, index: int) -> Bar:
        flags = self.config.u32[Config.bar0.offset + 4 * index]
        region = VFIO_PCI_BAR0_REGION_INDEX + index
        return Bar(self.device, region, f"BAR {index}", flags, self._decoding.add)

    def _turn_on(self) -> None:
        # Of what it doesn't have, the bits stay 0.
        self.config.command |= self._on

    @property
    def dma(self) -> DmaSpace:
        """What its DMA reaches: `dma.alloc(size)` gives memory with an IOVA."""
        return self.device.dma

    def reset(self) -> None:
        """Reset the function; BARs, DMA and the interrupts that are enabled work on.

        Raises DeviceError, also for a device that can't be reset alone.
        """
        with self._decoding.changing():
            self.device.reset()
            self._turn_on()

    def close(self) -> None:
        """Stop the device's DMA and interrupts, and let it go. Idempotent.

        In a process that was forked meanwhile only what that has of it is closed.
        """
        if self._closed:
            return
        self._closed = True
        with ExitStack() as rest:
            rest.callback(self.device.close)
            rest.callback(self._decoding.close)
            if os.getpid() != self._pid:
                return
            # A device that has gone needs nothing of this.
            for kind in (self.intx, self.msi, self.msix, self.err, self.req):
                with contextlib.suppress(VfioError):
                    kind.close()
            with contextlib.suppress(VfioError):
                self.config.command = self._command

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PciDevice {self.name}>"
