# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RootPort: a bridge from bus 0 to one PCI Express device, which is alone on the bus behind it.

It is there for what a guest expects around such a device: a link that leads somewhere, a slot, a
bus that can be reset. DMA and messages don't pass through it, so it moves no data; but what is
behind it is reached only where, and while, its registers say so.

Sources: PCI-to-PCI Bridge Architecture 1.2, section 3.2; PCI Express Base 6.0, section 7.5.1.3.
"""

from __future__ import annotations

import struct
import threading

from pyvmm.uapi.pci_regs import (
    PCI_ACS_CR,
    PCI_ACS_RR,
    PCI_ACS_SV,
    PCI_ACS_TB,
    PCI_ACS_UF,
    PCI_BRIDGE_CONTROL,
    PCI_BRIDGE_CTL_BUS_RESET,
    PCI_BRIDGE_CTL_ISA,
    PCI_BRIDGE_CTL_PARITY,
    PCI_BRIDGE_CTL_SERR,
    PCI_BRIDGE_CTL_VGA,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_PM,
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
    PCI_EXT_CAP_ID_ACS,
    PCI_HEADER_TYPE,
    PCI_HEADER_TYPE_BRIDGE,
    PCI_MSI_FLAGS_64BIT,
    PCI_MSI_FLAGS_ENABLE,
    PCI_PM_CTRL_NO_SOFT_RESET,
    PCI_PM_CTRL_STATE_MASK,
    PCI_PRIMARY_BUS,
    PCI_SEC_STATUS,
    PCI_SECONDARY_BUS,
    PCI_SUBORDINATE_BUS,
)

from .bridge_windows import BridgeWindows
from .bus import Bridge, Bus, Function
from .config_space import STATUS_ERRORS, ConfigSpace
from .express_port import ExpressPort, link_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bars import Bar
    from .bridge_windows import Range, WindowKind
    from .express_port import Link

_PM_VERSION = 3
_ACS = PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF


class RootPort(Bridge):
    """A root port as Intel's 5520 I/O hub has them, the id that guests know from other VMMs."""

    def __init__(self, number: int) -> None:
        """number, 1 to 255, is that of the port and of its slot, as the guest is told."""
        self.name = f"root port {number}"
        self.secondary = Bus(self)
        self._lock = threading.Lock()
        self.config = config = ConfigSpace(PCI_CFG_SPACE_EXP_SIZE)
        config.set_ids(0x8086, 0x3420, class_code=0x060400)
        config.set_u8(PCI_HEADER_TYPE, PCI_HEADER_TYPE_BRIDGE)
        for register in (PCI_PRIMARY_BUS, PCI_SECONDARY_BUS, PCI_SUBORDINATE_BUS):
            config.make_writable(register, 1)
        config.make_write_1_to_clear(PCI_SEC_STATUS, 2, STATUS_ERRORS)
        config.make_writable(
            PCI_BRIDGE_CONTROL,
            2,
            PCI_BRIDGE_CTL_PARITY
            | PCI_BRIDGE_CTL_SERR
            | PCI_BRIDGE_CTL_ISA
            | PCI_BRIDGE_CTL_VGA
            | PCI_BRIDGE_CTL_BUS_RESET,
        )
        self._windows = BridgeWindows(config)
        config.add_capability(
            PCI_CAP_ID_PM,
            struct.pack("<HHH", _PM_VERSION, PCI_PM_CTRL_NO_SOFT_RESET, 0),
            struct.pack("<HHH", 0, PCI_PM_CTRL_STATE_MASK, 0),
        )
        config.add_capability(
            PCI_CAP_ID_MSI,
            struct.pack("<HQH", PCI_MSI_FLAGS_64BIT, 0, 0),
            struct.pack("<HQH", PCI_MSI_FLAGS_ENABLE, (1 << 64) - 4, 0xFFFF),
        )
        self._express = ExpressPort(config, number)
        config.add_extended_capability(
            PCI_EXT_CAP_ID_ACS, 1, struct.pack("<HH", _ACS, 0), struct.pack("<HH", 0, _ACS)
        )
        config.set_u16(PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
        self._boot = bytes(config.data)
        self._up = False
        self._io: tuple[Range, ...] = ()
        self._memory: tuple[Range, ...] = ()

    @property
    def bars(self) -> tuple[Bar, ...]:
        return ()

    # -- before boot --------------------------------------------------------------------------

    def number_bus(self, number: int) -> None:
        self.config.set_u8(PCI_SECONDARY_BUS, number)
        self.config.set_u8(PCI_SUBORDINATE_BUS, number)
        self._boot = bytes(self.config.data)

    def place_window(self, kind: WindowKind, start: int, end: int) -> None:
        self._windows.place(kind, start, end)
        self._boot = bytes(self.config.data)

    def reset(self) -> None:
        link = self._link()
        with self._lock:
            self.config.data[:] = self._boot
            self._express.plug(link if self._present() else None)
            self._settle()

    def _present(self) -> Function | None:
        """The first function of what is in the slot.

        Each may have a server of its own, so function 0 can be lost while others go on. That is
        no device as PCI has them: function 0 reads as all-ones, so that software doesn't look for
        the others any more. Yet whoever uses one of them has done nothing to lose it: they stay
        reached, and the link up, until the last one is lost.
        """
        return next((one for one in self.secondary.functions if one.present), None)

    def _link(self) -> Link | None:
        """What the device says of its link; None without one.

        Not with the lock: if it is lost with that, we are told of it on this very thread.
        """
        device = self._present()
        return None if device is None else link_of(device)

    def device_changed(self) -> None:
        with self._lock:
            if self._express.occupied == (self._present() is not None):
                return
            if self._express.occupied:
                self._change(None)
                return
        link = self._link()
        with self._lock:
            if link is not None and self._present() and not self._express.occupied:
                self._change(link)

    def _change(self, link: Link | None) -> None:
        self._express.plug(link)
        self._settle()
        self._express.tell_of_change()

    # -- what the guest does ------------------------------------------------------------------

    @property
    def secondary_number(self) -> int:
        return self.config.u8(PCI_SECONDARY_BUS)

    def leads_to(self, number: int) -> bool:
        first, last = self.secondary_number, self.config.u8(PCI_SUBORDINATE_BUS)
        return self._up and 0 < first <= number <= last

    def forwards(self, address: int, size: int, *, io: bool) -> bool:
        ranges = self._io if io else self._memory
        return any(start <= address and address + size <= end for start, end in ranges)

    def config_read(self, offset: int, size: int) -> int:
        return self.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        with self._lock:
            before = self._up, self._io, self._memory
            self.config.write(offset, size, value)
            self._settle()
            after = self._up, self._io, self._memory
        if before[0] and not after[0]:
            for function in self.secondary.functions:
                function.bus_reset()
        elif before != after:
            for function in self.secondary.functions:
                function.bridge_changed()

    def _settle(self) -> None:
        """Have the link, and what is passed on, follow from the registers."""
        in_reset = self.config.u16(PCI_BRIDGE_CONTROL) & PCI_BRIDGE_CTL_BUS_RESET
        self._up = self._express.occupied and not in_reset and not self._express.disabled
        self._express.set_link(self._up)
        self._io = self._windows.io() if self._up else ()
        self._memory = self._windows.memory() if self._up else ()
