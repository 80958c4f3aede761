# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""BridgeWindows: which addresses a bridge passes on to the bus behind it.

The registers of a type 1 header: a window of ports, one of memory below 4 GiB, and one of
prefetchable memory with 64 bits of address.

Source: PCI-to-PCI Bridge Architecture 1.2, section 3.2.5.
"""

from __future__ import annotations

from pyvmm.uapi.pci_regs import (
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MEMORY,
    PCI_IO_BASE,
    PCI_IO_LIMIT,
    PCI_IO_RANGE_MASK,
    PCI_MEMORY_BASE,
    PCI_MEMORY_LIMIT,
    PCI_MEMORY_RANGE_MASK,
    PCI_PREF_BASE_UPPER32,
    PCI_PREF_LIMIT_UPPER32,
    PCI_PREF_MEMORY_BASE,
    PCI_PREF_MEMORY_LIMIT,
    PCI_PREF_RANGE_MASK,
    PCI_PREF_RANGE_TYPE_64,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    from .config_space import ConfigSpace

    Range = tuple[int, int]
    """[start, end); nothing, unless start < end."""

    WindowKind = Literal["I/O window", "memory window", "prefetchable window"]

IO_WINDOW: Final = "I/O window"
MEMORY_WINDOW: Final = "memory window"
PREFETCHABLE_WINDOW: Final = "prefetchable window"

_IO_GRANULE, _MEMORY_GRANULE = 1 << 12, 1 << 20
GRANULES: dict[WindowKind, int] = {
    IO_WINDOW: _IO_GRANULE,
    MEMORY_WINDOW: _MEMORY_GRANULE,
    PREFETCHABLE_WINDOW: _MEMORY_GRANULE,
}
"""Windows begin and end at multiples of these (bytes)."""

_MEMORY_MASK = PCI_MEMORY_RANGE_MASK & 0xFFFF
_PREFETCHABLE_MASK = PCI_PREF_RANGE_MASK & 0xFFFF
_IO_MASK = PCI_IO_RANGE_MASK & 0xFF


class BridgeWindows:
    """The three windows, in a bridge's configuration space. All are closed at first.

    That of ports is not there at all before it is placed: guests spend none on a bridge that has no
    such window, and there are few.
    """

    def __init__(self, config: ConfigSpace) -> None:
        self._config = config
        config.make_writable(PCI_MEMORY_BASE, 2, _MEMORY_MASK)
        config.make_writable(PCI_MEMORY_LIMIT, 2, _MEMORY_MASK)
        config.make_writable(PCI_PREF_MEMORY_BASE, 2, _PREFETCHABLE_MASK)
        config.make_writable(PCI_PREF_MEMORY_LIMIT, 2, _PREFETCHABLE_MASK)
        config.make_writable(PCI_PREF_BASE_UPPER32, 4)
        config.make_writable(PCI_PREF_LIMIT_UPPER32, 4)
        # A window that ends before it begins is closed.
        config.set_u16(PCI_MEMORY_BASE, _MEMORY_MASK)
        config.set_u16(PCI_PREF_MEMORY_BASE, _PREFETCHABLE_MASK | PCI_PREF_RANGE_TYPE_64)
        config.set_u16(PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64)
        self._has_io = False

    def place(self, kind: WindowKind, start: int, end: int) -> None:
        """Open a window before boot, from start up to end."""
        config, last = self._config, end - 1
        if kind == IO_WINDOW:
            self._has_io = True
            config.make_writable(PCI_IO_BASE, 1, _IO_MASK)
            config.make_writable(PCI_IO_LIMIT, 1, _IO_MASK)
            config.set_u8(PCI_IO_BASE, start >> 8 & _IO_MASK)
            config.set_u8(PCI_IO_LIMIT, last >> 8 & _IO_MASK)
        elif kind == MEMORY_WINDOW:
            config.set_u16(PCI_MEMORY_BASE, start >> 16 & _MEMORY_MASK)
            config.set_u16(PCI_MEMORY_LIMIT, last >> 16 & _MEMORY_MASK)
        else:
            wide = PCI_PREF_RANGE_TYPE_64
            config.set_u16(PCI_PREF_MEMORY_BASE, start >> 16 & _PREFETCHABLE_MASK | wide)
            config.set_u16(PCI_PREF_MEMORY_LIMIT, last >> 16 & _PREFETCHABLE_MASK | wide)
            config.set_u32(PCI_PREF_BASE_UPPER32, start >> 32)
            config.set_u32(PCI_PREF_LIMIT_UPPER32, last >> 32)

    # What is passed on as the registers are now.

    def io(self) -> tuple[Range, ...]:
        """Ranges of ports."""
        config = self._config
        if not (self._has_io and config.u16(PCI_COMMAND) & PCI_COMMAND_IO):
            return ()
        base, limit = config.u8(PCI_IO_BASE) & _IO_MASK, config.u8(PCI_IO_LIMIT) & _IO_MASK
        return ((base << 8, (limit << 8) + _IO_GRANULE),)

    def memory(self) -> tuple[Range, ...]:
        """Ranges of guest-physical addresses."""
        config = self._config
        if not config.u16(PCI_COMMAND) & PCI_COMMAND_MEMORY:
            return ()
        base = (config.u16(PCI_MEMORY_BASE) & _MEMORY_MASK) << 16
        limit = (config.u16(PCI_MEMORY_LIMIT) & _MEMORY_MASK) << 16
        wide_base = (config.u16(PCI_PREF_MEMORY_BASE) & _PREFETCHABLE_MASK) << 16
        wide_limit = (config.u16(PCI_PREF_MEMORY_LIMIT) & _PREFETCHABLE_MASK) << 16
        wide_base |= config.u32(PCI_PREF_BASE_UPPER32) << 32
        wide_limit |= config.u32(PCI_PREF_LIMIT_UPPER32) << 32
        return ((base, limit + _MEMORY_GRANULE), (wide_base, wide_limit + _MEMORY_GRANULE))
