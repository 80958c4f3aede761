# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Places BARs and bridges' windows before boot, as firmware would, and numbers the buses.

BARs that have only one window come first, larger ones before smaller ones, each in the lowest
gap it fits in. Since sizes are powers of two this wastes nothing but what alignment costs. The BARs
behind a bridge are placed together: there each of its windows has just the room they need.
"""

from __future__ import annotations

from functools import partial

from pyvmm.memory import layout

from .bars import IO, MEM64
from .bridge_windows import GRANULES, IO_WINDOW, MEMORY_WINDOW, PREFETCHABLE_WINDOW
from .bus import Bridge, bdf_name
from .errors import NoRoom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .bars import Bar
    from .bridge_windows import WindowKind
    from .bus import Bus, Function


class Window:
    """Free addresses of one kind: ports, or guest-physical."""

    __slots__ = ("_free", "cure", "end", "largest", "name", "start")

    def __init__(self, name: str, start: int, end: int, cure: str, largest: int) -> None:
        """[start, end); cure is what to do when it is full.

        largest is the size in bytes of the largest BAR that such a window takes in any machine.
        """
        self.name = name
        self.start = start
        self.end = end
        self.cure = cure
        self.largest = largest
        self._free = [(start, end)] if start < end else []

    def take(self, size: int, alignment: int) -> int | None:
        """The lowest free multiple of alignment with size bytes behind it, now taken."""
        for at, (start, end) in enumerate(self._free):
            address = -(-start // alignment) * alignment
            if address + size <= end:
                left = ((start, address), (address + size, end))
                self._free[at : at + 1] = [gap for gap in left if gap[0] < gap[1]]
                return address
        return None

    def __str__(self) -> str:
        if self.start == self.end:
            return f"{self.name} (empty)"
        return f"{self.name} ({self.start:#x}-{self.end - 1:#x})"


class Windows:
    """The machine's windows for BARs."""

    __slots__ = ("io", "mmio32", "mmio64")

    def __init__(self, ram_size: int, address_bits: int) -> None:
        """For a guest with ram_size bytes of RAM and address_bits of physical address."""
        few = "assign fewer devices with such BARs"
        ports = layout.IO_START, layout.IO_END
        low = layout.MMIO32_START, layout.MMIO32_END
        self.io = Window("I/O window", *ports, few, ports[1] // 2)
        self.mmio32 = Window("32-bit window", *low, few, low[1] - low[0])
        self.mmio64 = Window(
            "64-bit window",
            *layout.mmio64_window(ram_size, address_bits),
            f"the guest has {address_bits} bits of physical address: give it more, or less RAM",
            # It starts somewhere in the first multiple of its size.
            layout.MMIO64_SIZE_MAX // 2,
        )

    def choices(self, bar: Bar) -> tuple[Window, ...]:
        """The windows a BAR may lie in, the best first.

        Only prefetchable ones go above 4 GiB by choice: others might be wanted by a guest that
        runs without paging.
        """
        if bar.kind == IO:
            return (self.io,)
        if bar.kind == MEM64:
            windows = (self.mmio64, self.mmio32)
            return windows if bar.prefetchable else windows[::-1]
        return (self.mmio32,)

    def choices_of_bridge(self, kind: WindowKind) -> tuple[Window, ...]:
        """The windows that one of a bridge's may lie in, the best first."""
        if kind == IO_WINDOW:
            return (self.io,)
        return (self.mmio64, self.mmio32) if kind == PREFETCHABLE_WINDOW else (self.mmio32,)


# What a bridge's windows have at least: room for a guest to move BARs in.
_SMALLEST: dict[WindowKind, int] = {
    IO_WINDOW: 0,
    MEMORY_WINDOW: 2 * layout.MIB,
    PREFETCHABLE_WINDOW: 2 * layout.MIB,
}


class _Want:
    """Something to be placed: a BAR, or a bridge's window with all that lies in it."""

    __slots__ = ("alignment", "choices", "cure", "place", "room", "what")

    def __init__(
        self,
        what: str,
        room: int,
        alignment: int,
        choices: tuple[Window, ...],
        place: Callable[[int], None],
        cure: str = "",
    ) -> None:
        self.what = what
        self.room = room
        self.alignment = alignment
        self.choices = choices
        self.place = place
        self.cure = cure


def number_buses(bus: Bus) -> None:
    """Number the buses behind bus 0's bridges, in order of the bridges' addresses."""
    for number, bridge in enumerate(bus.bridges, 1):
        bridge.number_bus(number)


def place(functions: Iterable[Function], windows: Windows) -> None:
    """Give every BAR of functions of bus 0, and of those behind them, an address. Raises NoRoom.

    Memory BARs smaller than a page get a page of their own, so that each can be mapped without
    its neighbours.
    """
    wants: list[_Want] = []
    for function in functions:
        for bar in function.bars:
            room = _room(bar)
            what = f"{_named(function)}: {bar} ({bar.kind}, {bar.size:#x} bytes)"
            wants.append(_Want(what, room, room, windows.choices(bar), bar.place))
        if isinstance(function, Bridge):
            wants += _wants_of_bridge(function, windows)
    wants.sort(key=lambda want: (len(want.choices), -want.alignment))
    for want in wants:
        for window in want.choices:
            address = window.take(want.room, want.alignment)
            if address is not None:
                want.place(address)
                break
        else:
            raise NoRoom(f"{want.what} fits in no gap of the {_where_and_cure(want)}")


def _wants_of_bridge(bridge: Bridge, windows: Windows) -> list[_Want]:
    behind = bridge.secondary.functions
    wants = []
    for kind, smallest in _SMALLEST.items():
        bars = [bar for function in behind for bar in function.bars if _window_kind(bar) == kind]
        bars.sort(key=lambda bar: -_room(bar))
        granule = GRANULES[kind]
        room = -(-max(smallest, sum(map(_room, bars))) // granule) * granule
        if room:
            what = f"{_named(bridge)}: its {kind} ({room:#x} bytes)"
            names = ", ".join(function.name for function in behind)
            cure = f"assign {names} without root_port" if names else ""
            alignment = max([granule, *map(_room, bars)])
            fill = partial(_fill, bridge, kind, room, bars)
            wants.append(_Want(what, room, alignment, windows.choices_of_bridge(kind), fill, cure))
    return wants


def _fill(bridge: Bridge, kind: WindowKind, room: int, bars: Iterable[Bar], start: int) -> None:
    """Open a bridge's window at start, and place bars in it, the largest first."""
    bridge.place_window(kind, start, start + room)
    for bar in bars:
        bar.place(start)
        start += _room(bar)


def _window_kind(bar: Bar) -> WindowKind:
    """Which of a bridge's windows a BAR has to lie in.

    What is not prefetchable can't be in the one for prefetchable memory, and of what is, that with
    64 bits is enough, as in Linux: the others would keep the window below 4 GiB.
    """
    if bar.kind == IO:
        return IO_WINDOW
    return PREFETCHABLE_WINDOW if bar.kind == MEM64 and bar.prefetchable else MEMORY_WINDOW


def _room(bar: Bar) -> int:
    return bar.size if bar.io else max(bar.size, layout.PAGE_SIZE)


def _named(function: Function) -> str:
    return f"{function.name} at {bdf_name(function.bdf)}"


def _where_and_cure(want: _Want) -> str:
    tried = " nor the ".join(map(str, want.choices))
    able = [window.cure for window in want.choices if want.room <= window.largest]
    able += [want.cure] if want.cure else []
    cures = "; ".join(dict.fromkeys(able)) or (
        f"BARs of this kind can have {max(w.largest for w in want.choices):#x} bytes: "
        "configure the device to have a smaller one"
    )
    return f"{tried}; {cures}"
