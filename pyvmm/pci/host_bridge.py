# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The host bridge: how a guest reaches configuration space, and the bridge's own function.

Two ways: configuration mechanism #1 through the ports 0xcf8 and 0xcfc (PCI Local Bus 3.0,
section 3.2.2.3.2) and ECAM (PCI Express Base 6.0, section 7.2.2). The function 00:00.0 is that
of the Q35 chipset.
"""

from __future__ import annotations

from pyvmm.memory.layout import ECAM_BASE, ECAM_SIZE, RESET_PORT
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY

from .bus import Function
from .config_space import ConfigSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.memory import AddressMap

    from .bars import Bar
    from .bus import Bus

CONFIG_ADDRESS = 0xCF8
CONFIG_DATA = 0xCFC
_PORTS = 8

_ENABLE = 1 << 31
_RESERVED = 0x7F00_0003

_RESET_OFFSET = RESET_PORT - CONFIG_ADDRESS
_RST_CPU = 1 << 2
_RST_KIND = 0x0A  # SYS_RST, FULL_RST

_PCIEXBAR = 0x60
_PCIEXBAR_ENABLE = 1  # length field 0: 256 MiB


class HostBridge(Function):
    """The function 00:00.0: a Q35 memory controller hub, whose PCIEXBAR tells where ECAM is."""

    name = "host bridge"

    def __init__(self) -> None:
        self.config = config = ConfigSpace()
        config.set_ids(0x8086, 0x29C0, class_code=0x060000)
        config.set_u16(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
        config.set_u32(_PCIEXBAR, ECAM_BASE | _PCIEXBAR_ENABLE)
        self._at_power_on = bytes(config.data)

    @property
    def bars(self) -> tuple[Bar, ...]:
        return ()

    def reset(self) -> None:
        self.config.data[:] = self._at_power_on

    def config_read(self, offset: int, size: int) -> int:
        return self.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.config.write(offset, size, value)


class ConfigPorts:
    """The ports 0xcf8 to 0xcff: configuration mechanism #1, and the reset control register.

    CONFIG_ADDRESS is a register only to dword accesses; bytes and words pass it by. Among those,
    byte 0xcf9 is the reset control register of Intel's chipsets, which FADT names as reset
    register: reset(value) is called when a write sets RST_CPU, which reads as 0. It is here
    because only the access's size tells it from a part of CONFIG_ADDRESS, as in those chipsets.
    """

    def __init__(self, bus: Bus, reset: Callable[[int], None]) -> None:
        self._bus = bus
        self._request_reset = reset
        self.reset()

    def reset(self) -> None:
        self._address = 0
        self._reset_control = 0

    def add_to(self, ports: AddressMap) -> None:
        """Answer at the ports."""
        ports.add(CONFIG_ADDRESS, _PORTS, self)

    def read(self, offset: int, size: int) -> int:
        if offset >= 4:
            address = self._address
            if address & _ENABLE:
                return self._bus.config_read(
                    address >> 8 & 0xFFFF, address & 0xFC | offset & 3, size
                )
        elif size == 4 and offset == 0:
            return self._address
        elif size == 1 and offset == _RESET_OFFSET:
            return self._reset_control
        return (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= 4:
            address = self._address
            if address & _ENABLE:
                self._bus.config_write(
                    address >> 8 & 0xFFFF, address & 0xFC | offset & 3, size, value
                )
        elif size == 4 and offset == 0:
            self._address = value & ~_RESERVED
        elif size == 1 and offset == _RESET_OFFSET:
            self._reset_control = value & _RST_KIND
            if value & _RST_CPU:
                self._request_reset(value)


class Ecam:
    """The 256 MiB in which every function's 4096 bytes of configuration space are memory."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def add_to(self, mmio: AddressMap) -> None:
        """Answer at the machine's ECAM address."""
        mmio.add(ECAM_BASE, ECAM_SIZE, self)

    def read(self, offset: int, size: int) -> int:
        return self._bus.config_read(offset >> 12, offset & 0xFFF, size)

    def write(self, offset: int, size: int, value: int) -> None:
        self._bus.config_write(offset >> 12, offset & 0xFFF, size, value)
