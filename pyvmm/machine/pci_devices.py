# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Puts plugged devices on bus 0 of a machine, with addresses for their BARs."""

from __future__ import annotations

from pyvmm.pci.allocator import place
from pyvmm.pci.errors import BusConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyvmm.pci.allocator import Windows
    from pyvmm.pci.assigned import Assigned
    from pyvmm.pci.bus import Bus


def put_on_bus(
    functions: Sequence[Assigned], slots: Sequence[int | None], bus: Bus, windows: Windows
) -> None:
    """Put the functions on bus 0, and place their BARs.

    A slot is device << 3 | function, or None for the lowest free device number. Raises PciError.
    """
    free = _free_slots(bus, slots)
    chosen = [next(free) if slot is None else slot for slot in slots]
    # In order of their functions: software looks for function 0 first.
    for slot, function in sorted(zip(chosen, functions, strict=True), key=lambda pair: pair[0]):
        bus.add(function, device=slot >> 3, number=slot & 7)
    place(functions, windows)


def _free_slots(bus: Bus, slots: Sequence[int | None]) -> Iterator[int]:
    taken = {function.bdf >> 3 for function in bus.functions}
    taken |= {slot >> 3 for slot in slots if slot is not None}
    for device in range(1, 32):
        if device not in taken:
            yield device << 3
    raise BusConflict("bus 0 has no free device number left; use slots such as 03.1")
