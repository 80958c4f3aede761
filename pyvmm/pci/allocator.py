# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Places BARs before boot, as firmware would: each at a multiple of its size, in a window.

BARs that have only one window come first, larger ones before smaller ones, each in the lowest
gap it fits in. Since sizes are powers of two this wastes nothing but what alignment costs.
"""

from __future__ import annotations

from pyvmm.memory import layout

from .bars import IO, MEM64
from .bus import bdf_name
from .errors import NoRoom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .bars import Bar
    from .bus import Function


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
        self.io = Window("I/O window", *ports, few, ports[1] - ports[0])
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


def place(functions: Iterable[Function], windows: Windows) -> None:
    """Give every BAR an address. Raises NoRoom.

    Memory BARs smaller than a page get a page of their own, so that each can be mapped without
    its neighbours.
    """
    wanted = [
        (function, bar, windows.choices(bar)) for function in functions for bar in function.bars
    ]
    wanted.sort(key=lambda want: (len(want[2]), -want[1].size))
    for function, bar, choices in wanted:
        room = bar.size if bar.io else max(bar.size, layout.PAGE_SIZE)
        address = next((a for w in choices if (a := w.take(room, room)) is not None), None)
        if address is None:
            tried = " nor the ".join(map(str, choices))
            able = [window.cure for window in choices if room <= window.largest]
            cures = "; ".join(dict.fromkeys(able)) or (
                f"BARs of this kind can have {max(w.largest for w in choices):#x} bytes: "
                "configure the device to have a smaller one"
            )
            raise NoRoom(
                f"{function.name} at {bdf_name(function.bdf)}: {bar} ({bar.kind}, {bar.size:#x} "
                f"bytes) fits in no gap of the {tried}; {cures}"
            )
        bar.place(address)
