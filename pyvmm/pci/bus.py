# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bus: the functions of one PCI bus, and the way to the buses behind its bridges.

Configuration accesses come in from the host bridge (CF8/CFC, ECAM) to bus 0, and go out to its
functions or through a bridge. A bus owns what no function can know by itself: whether its device
has other functions, and where the device's interrupt pins end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyvmm.uapi.pci_regs import PCI_CFG_SPACE_EXP_SIZE, PCI_HEADER_TYPE, PCI_HEADER_TYPE_MFD

from . import pins
from .errors import BusConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bars import Bar
    from .bridge_windows import WindowKind

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


NOBODY = 0xFFFF
"""The vendor id that is read where nothing answers."""


class Function(ABC):
    """One PCI function, as its bus sees it. What a guest can bring about in it never raises."""

    name: str
    """What to call it in messages."""

    bus: Bus
    """Where it is, once it is on a bus."""

    devfn: int = -1
    """Its place there: device << 3 | function."""

    multifunction: bool = False
    """Its device has other functions."""

    @property
    def bdf(self) -> int:
        """Its routing id, as bus numbers are now; once it is on a bus."""
        return self.bus.number << 8 | self.devfn

    @property
    def bridge(self) -> Bridge | None:
        """The one it is behind; None on bus 0, and on none."""
        return self.bus.bridge if self.devfn >= 0 else None

    @property
    def present(self) -> bool:
        """It is in its slot, and hasn't been lost. To ask takes neither locks nor the device."""
        return True

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

    def attached(self, bus: Bus, devfn: int) -> None:
        """It is on a bus now, at this place."""
        self.bus = bus
        self.devfn = devfn

    @abstractmethod
    def reset(self) -> None:
        """Be as at power-on, but where it was placed. No vCPU may be running.

        What is behind a bridge is reset by itself.
        """

    # What the bridge above it has done, on a vCPU's thread.

    def bridge_changed(self) -> None:  # noqa: B027
        """It passes on other addresses than before."""

    def bus_reset(self) -> None:  # noqa: B027
        """It has reset its bus, or has lost the link: nothing is passed on."""


class Bridge(Function):
    """A function with a bus behind it, the guest's to number."""

    secondary: Bus
    """That bus."""

    @abstractmethod
    def number_bus(self, number: int) -> None:
        """Give that bus its number before boot, which reset() returns to."""

    @abstractmethod
    def place_window(self, kind: WindowKind, start: int, end: int) -> None:
        """Open a window from start up to end, in granules, before boot; likewise."""

    @property
    @abstractmethod
    def secondary_number(self) -> int:
        """Its number; 0 while it has none."""

    @abstractmethod
    def leads_to(self, number: int) -> bool:
        """Accesses to configuration space on the bus of that number reach the bus behind it."""

    @abstractmethod
    def forwards(self, address: int, size: int, *, io: bool) -> bool:
        """Accesses to all of these ports, or guest-physical addresses, reach it."""

    @abstractmethod
    def device_changed(self) -> None:
        """A function on the bus behind it has gone, or has come back."""


class Bus:
    """The functions of one bus. Safe from any thread once built."""

    def __init__(self, bridge: Bridge | None = None) -> None:
        """Bus 0, or the bus behind a port of PCI Express, which is a link to one device."""
        self.bridge = bridge
        self._functions: dict[int, Function] = {}
        self._bridges: list[Bridge] = []

    @property
    def number(self) -> int:
        """The bus number, as it is now."""
        return 0 if self.bridge is None else self.bridge.secondary_number

    @property
    def functions(self) -> tuple[Function, ...]:
        """Its own functions, in order of their addresses."""
        return tuple(self._functions[devfn] for devfn in sorted(self._functions))

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """Those of its functions that have a bus behind them."""
        return tuple(function for function in self.functions if isinstance(function, Bridge))

    def add(self, function: Function, *, device: int, number: int = 0) -> None:
        """Put a function at device.number of this bus. Raises BusConflict.

        Function 0 comes first: software doesn't look for the others of a device that has no
        function 0 (PCI Local Bus 3.0, section 3.2.2.3.4).
        """
        at = bdf(self.number, device, number)
        if device and self.bridge is not None:
            raise BusConflict(
                f"{function.name} can't be at {bdf_name(at)}: behind {self.bridge.name} there is "
                "device 0 alone"
            )
        there = self._functions.get(at & 0xFF)
        if there is not None:
            raise BusConflict(
                f"{function.name} can't be at {bdf_name(at)}, where {there.name} is; "
                "give one of them another address"
            )
        siblings = [other for devfn, other in self._functions.items() if devfn >> 3 == device]
        if number and not siblings:
            raise BusConflict(
                f"{function.name} at {bdf_name(at)} would be invisible, since there is no "
                f"function {bdf_name(at & ~7)}; add that one first, or use it"
            )
        self._functions[at & 0xFF] = function
        if isinstance(function, Bridge):
            self._bridges.append(function)
        if siblings:
            for one in (*siblings, function):
                one.multifunction = True
        function.attached(self, at & 0xFF)

    def replace(self, function: Function, by: Function) -> None:
        """Put a function with the same BARs in the place of one, its BARs where that one's were.

        It is still to be reset. No vCPU may be in the guest.
        """
        for new, old in zip(by.bars, function.bars, strict=True):
            new.place(old.boot_address)
        self._functions[function.devfn] = by
        by.multifunction = function.multifunction
        by.attached(self, function.devfn)

    def intx_gsi(self, device: int, pin: int) -> int:
        """The GSI that a pin (1 is INTA) of a device of this bus is wired to."""
        if self.bridge is None:
            return pins.intx_gsi(device, pin)
        return self.bridge.bus.intx_gsi(self.bridge.devfn >> 3, pins.swizzle(device, pin))

    # -- configuration space ------------------------------------------------------------------

    def _find(self, bdf: int) -> Function | None:
        """Who is at a routing id, here or behind one of the bridges."""
        number = bdf >> 8
        if number == self.number:
            return self._functions.get(bdf & 0xFF)
        for bridge in self._bridges:
            if bridge.leads_to(number):
                return bridge.secondary._find(bdf)
        return None

    def config_read(self, bdf: int, offset: int, size: int) -> int:
        """Read 1, 2, 4 or 8 bytes at any offset of a function; all-ones if it isn't there."""
        function = self._find(bdf)
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
            value = value | bit if function.multifunction else value & ~bit
        return value

    def config_write(self, bdf: int, offset: int, size: int, value: int) -> None:
        """Write likewise; dropped if there is no such function."""
        function = self._find(bdf)
        if function is None:
            return
        if offset & size - 1 or size > 4:
            half = size // 2
            self.config_write(bdf, offset, half, value & (1 << 8 * half) - 1)
            self.config_write(bdf, offset + half, half, value >> 8 * half)
        elif offset < PCI_CFG_SPACE_EXP_SIZE:
            function.config_write(offset, size, value)
