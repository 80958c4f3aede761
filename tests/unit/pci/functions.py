# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Functions that only look like devices, to be put on buses."""

from __future__ import annotations

from pyvmm.pci.bars import MEM64, ROM, ROM_INDEX, Bar
from pyvmm.pci.bus import Bus, Function
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.root_port import RootPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.pci.bars import Kind

    Want = tuple[Kind, int, bool]  # size, prefetchable


class WithBars(Function):
    """A function with BARs that nobody answers at; it counts what its bridge does."""

    def __init__(self, *wants: Want, name: str = "device") -> None:
        self.name = name
        self.config = ConfigSpace(4096)
        self.config.set_ids(0x1234, 0x5678, class_code=0xFF0000)
        self.bridge_changes = 0
        self.bus_resets = 0
        self.lost = False
        found: list[Bar] = []
        index = 0
        for kind, size, prefetchable in wants:
            at = ROM_INDEX if kind == ROM else index
            found.append(Bar(self.config, at, kind, size, prefetchable))
            index += 0 if kind == ROM else 2 if kind == MEM64 else 1
        self._bars = tuple(found)

    @property
    def bars(self) -> tuple[Bar, ...]:
        return self._bars

    @property
    def present(self) -> bool:
        return not self.lost

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.lost else self.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.config.write(offset, size, value)

    def reset(self) -> None:
        self.config.set_u16(4, 0)
        for bar in self._bars:
            bar.reset()

    def bridge_changed(self) -> None:
        self.bridge_changes += 1

    def bus_reset(self) -> None:
        self.bus_resets += 1


def behind_port(bus: Bus, *functions: Function, device: int = 1, number: int = 1) -> RootPort:
    """A root port on bus 0 with these functions behind it."""
    port = RootPort(number)
    bus.add(port, device=device)
    for at, function in enumerate(functions):
        port.secondary.add(function, device=0, number=at)
    return port


def reset_all(bus: Bus) -> None:
    """Reset all functions of a bus and of those behind its bridges, as a machine does."""
    for function in bus.functions:
        function.reset()
    for bridge in bus.bridges:
        reset_all(bridge.secondary)
