# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bus: the functions of one PCI segment, by bus, device and function number.

Configuration accesses come in from the host bridge (CF8/CFC, ECAM) and go out to functions. The
bus owns what no function can know by itself: whether its device has other functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyvmm.uapi.pci_regs import PCI_CFG_SPACE_EXP_SIZE, PCI_HEADER_TYPE, PCI_HEADER_TYPE_MFD

from .errors import BusConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bars import Bar

BUSES = 256
DEVICES = 32
FUNCTIONS = 8


def bdf(bus: int, device: int, function: int = 0) -> int:
    """The 16-bit routing id; raises BusConflict for numbers that PCI doesn't have."""
    if not (0 <= bus < BUSES and 0 <= device < DEVICES and 0 <= function < FUNCTIONS):
        raise BusConflict(
            f"no PCI address: bus {bus}, device {device}, function {function}; "
            "buses go up to 255, devices to 31, functions to 7"
        )
    return bus << 8 | device << 3 | function


def bdf_name(bdf: int) -> str:
    """As lspci writes it: 00:1f.2."""
    return f"{bdf >> 8:02x}:{bdf >> 3 & 31:02x}.{bdf & 7}"


class Function(ABC):
    """One PCI function, as its bus sees it. config_read and config_write never raise."""

    name: str
    """What to call it in messages."""

    bdf: int = -1
    """Its routing id, once it is on a bus."""

    @property
    @abstractmethod
    def bars(self) -> Sequence[Bar]:
        """Its base address registers, the expansion ROM's included."""

    @abstractmethod
    def config_read(self, offset: int, size: int) -> int:
        """Read size bytes (1, 2 or 4, aligned) of its configuration space of 4096 bytes."""

    @abstractmethod
    def config_write(self, offset: int, size: int, value: int) -> None:
        """Write likewise; value fits in size."""

    def attached(self, bdf: int) -> None:
        """It is on a bus now, at this address."""
        self.bdf = bdf


class Bus:
    """All functions of the machine, on buses 0 to 255. Safe from any thread once built."""

    def __init__(self) -> None:
        self._functions: dict[int, Function] = {}
        self._multifunction: set[int] = set()  # routing ids of function 0

    @property
    def functions(self) -> tuple[Function, ...]:
        """All functions, in order of their addresses."""
        return tuple(self._functions[bdf] for bdf in sorted(self._functions))

    def add(self, function: Function, *, bus: int = 0, device: int, number: int = 0) -> None:
        """Put a function at bus:device.number. Raises BusConflict.

        Function 0 comes first: software doesn't look for the others of a device that has no
        function 0 (PCI Local Bus 3.0, section 3.2.2.3.4).
        """
        at = bdf(bus, device, number)
        there = self._functions.get(at)
        if there is not None:
            raise BusConflict(
                f"{function.name} can't be at {bdf_name(at)}, where {there.name} is; "
                "give one of them another address"
            )
        if number and at & ~7 not in self._functions:
            raise BusConflict(
                f"{function.name} at {bdf_name(at)} would be invisible, since there is no "
                f"function {bdf_name(at & ~7)}; add that one first, or use it"
            )
        self._functions[at] = function
        if number:
            self._multifunction.add(at & ~7)
        function.attached(at)

    def config_read(self, bdf: int, offset: int, size: int) -> int:
        """Read 1, 2, 4 or 8 bytes at any offset of a function; all-ones if it isn't there."""
        function = self._functions.get(bdf)
        if function is None:
            return (1 << 8 * size) - 1
        if offset & size - 1 or size > 4:
            half = size // 2
            low = self.config_read(bdf, offset, half)
            return low | self.config_read(bdf, offset + half, half) << 8 * half
        if offset >= PCI_CFG_SPACE_EXP_SIZE:
            return (1 << 8 * size) - 1
        value = function.config_read(offset, size)
        # All-ones is a function that has gone, which has no header type.
        if offset <= PCI_HEADER_TYPE < offset + size and value != (1 << 8 * size) - 1:
            bit = PCI_HEADER_TYPE_MFD << 8 * (PCI_HEADER_TYPE - offset)
            value = value | bit if bdf & ~7 in self._multifunction else value & ~bit
        return value

    def config_write(self, bdf: int, offset: int, size: int, value: int) -> None:
        """Write likewise; dropped if there is no such function."""
        function = self._functions.get(bdf)
        if function is None:
            return
        if offset & size - 1 or size > 4:
            half = size // 2
            self.config_write(bdf, offset, half, value & (1 << 8 * half) - 1)
            self.config_write(bdf, offset + half, half, value >> 8 * half)
        elif offset < PCI_CFG_SPACE_EXP_SIZE:
            function.config_write(offset, size, value)
