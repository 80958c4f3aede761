# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bar: one base address register of a function, the expansion ROM's included.

The register's bits live in the function's ConfigSpace, whose write masks make sizing work by
themselves; this is their meaning (PCI Local Bus 3.0, section 6.2.5).
"""

from __future__ import annotations

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MEMORY,
    PCI_ROM_ADDRESS,
    PCI_ROM_ADDRESS_ENABLE,
)

from .config_space import ConfigSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Kind = Literal["I/O", "32-bit memory", "64-bit memory", "ROM"]

IO: Final = "I/O"
MEM32: Final = "32-bit memory"
MEM64: Final = "64-bit memory"
ROM: Final = "ROM"

ROM_INDEX = 6
"""The expansion ROM's index among a function's BARs, as VFIO numbers its region."""

_SMALLEST: dict[Kind, int] = {IO: 4, MEM32: 16, MEM64: 16, ROM: 2048}
_LARGEST: dict[Kind, int] = {IO: 1 << 16, MEM32: 1 << 31, MEM64: 1 << 51, ROM: 1 << 24}

_IO_LIMIT = 1 << 16
_MEM32_LIMIT = 1 << 32
_MEM64_LIMIT = 1 << 52


class Bar:
    """A base address register, declared in config.

    kind is IO, MEM32, MEM64 or ROM; index is 0 to 5, or ROM_INDEX; size is in bytes and rounded
    up to what a register can express. Raises ValueError for what no register can.
    """

    __slots__ = ("_config", "_offset", "boot_address", "index", "kind", "prefetchable", "size")

    def __init__(
        self, config: ConfigSpace, index: int, kind: Kind, size: int, prefetchable: bool = False
    ) -> None:
        self.index = index
        self.kind = kind
        self.prefetchable = prefetchable
        self.size = max(_SMALLEST[kind], 1 << (size - 1).bit_length())
        if self.size > _LARGEST[kind]:
            raise ValueError(f"{self}: {size:#x} bytes are too many for {kind}")
        if kind == ROM:
            config.set_rom(self.size)
        else:
            config.set_bar(
                index, self.size, io=kind == IO, wide=kind == MEM64, prefetchable=prefetchable
            )
        self._config = config
        self._offset = PCI_ROM_ADDRESS if kind == ROM else PCI_BASE_ADDRESS_0 + 4 * index
        self.boot_address = 0
        """Where reset() brings it: what place() was given."""

    def __str__(self) -> str:
        return "expansion ROM" if self.kind == ROM else f"BAR {self.index}"

    @property
    def io(self) -> bool:
        """It is in the I/O space, not in memory."""
        return self.kind == IO

    @property
    def registers(self) -> tuple[tuple[int, int], ...]:
        """(offset in configuration space, dword) of its one register or two."""
        offsets = (self._offset, self._offset + 4) if self.kind == MEM64 else (self._offset,)
        return tuple((offset, self._config.u32(offset)) for offset in offsets)

    @property
    def address(self) -> int:
        """The address in the register, decoded or not: a port or guest-physical."""
        address = self._config.u32(self._offset)
        if self.kind == MEM64:
            address |= self._config.u32(self._offset + 4) << 32
        return address & -self.size

    def place(self, address: int) -> None:
        """Give it an address, a multiple of its size, which reset() returns to."""
        if address % self.size:
            raise ValueError(f"{self} can't be at {address:#x}: not a multiple of {self.size:#x}")
        self.boot_address = address
        self.reset()

    def reset(self) -> None:
        """Back to the address of place(), or to 0; a ROM is off."""
        self._set(self.boot_address)

    def clear(self) -> None:
        """To 0, as after a reset of the function alone; a ROM is off."""
        self._set(0)

    def _set(self, address: int) -> None:
        flags = self._config.u32(self._offset) & (self._smallest() - 1) & ~self._enable_bit()
        self._config.set_u32(self._offset, address & 0xFFFF_FFFF | flags)
        if self.kind == MEM64:
            self._config.set_u32(self._offset + 4, address >> 32)

    def decoded(self) -> int | None:
        """Where it answers as its function's configuration space stands, or None.

        Nowhere while decoding is off, at address 0, which means unassigned, and at the very top
        of its space: there a register is being sized, not placed.
        """
        command = self._config.u16(PCI_COMMAND)
        if not command & (PCI_COMMAND_IO if self.io else PCI_COMMAND_MEMORY):
            return None
        enable = self._enable_bit()
        if enable and not self._config.u32(self._offset) & enable:
            return None
        address = self.address
        end = address + self.size
        if address == 0 or end == _MEM32_LIMIT:
            return None
        limit = _IO_LIMIT if self.io else _MEM64_LIMIT
        return address if end <= limit else None

    def _smallest(self) -> int:
        return _SMALLEST[self.kind]

    def _enable_bit(self) -> int:
        return PCI_ROM_ADDRESS_ENABLE if self.kind == ROM else 0
