# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Placement: what lies where in guest RAM when the guest starts."""

from __future__ import annotations

from pyvmm.memory import RAM, layout

from .errors import AddressTaken, DoesNotFit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.memory import GuestMemory

BOOT_INFO = 0x6000
"""One page: what a boot protocol hands over (start info, memory map, modules)."""

COMMAND_LINE = 0x7000
"""One page, of which a kernel takes COMMAND_LINE_LIMIT."""

COMMAND_LINE_LIMIT = 2048
"""Bytes with the final NUL: Linux's COMMAND_LINE_SIZE on x86, which cuts silently."""

_BOOT_INFO_END = 0x8000

LOW_RAM_END = 0x9_FC00
"""Conventional memory ends here; what follows up to 1 MiB is the firmware's on a PC."""


class Placement:
    """Hands out ranges of guest RAM, each once.

    The ranges of the boot information and of the legacy hole are taken from the start, as no
    image may lie there.
    """

    __slots__ = ("_low_ram_end", "_memory", "_taken")

    def __init__(self, memory: GuestMemory) -> None:
        """Raises DoesNotFit for a guest without the first MiB of RAM."""
        self._memory = memory
        self._taken = [
            (BOOT_INFO, _BOOT_INFO_END, "boot information"),
            (LOW_RAM_END, layout.VGA_HOLE_END, "the legacy hole below 1 MiB"),
        ]
        ends = [region.end for region in memory.regions if region.kind == RAM and region.gpa == 0]
        self._low_ram_end = max(ends, default=0)
        if self._low_ram_end < layout.VGA_HOLE_END:
            raise DoesNotFit("a guest needs at least 1 MiB of RAM to boot")

    def claim(self, gpa: int, size: int, what: str) -> memoryview:
        """The buffer of size bytes of RAM at gpa. Raises DoesNotFit, AddressTaken."""
        for region in self._memory.regions:
            if region.kind == RAM and region.gpa <= gpa and gpa + size <= region.end:
                break
        else:
            raise DoesNotFit(
                f"{what} must lie at {gpa:#x}-{gpa + size - 1:#x}, which is not (all) guest RAM: "
                f"the guest has {self._memory.ram_size >> 20} MiB, "
                f"of which {self._low_ram_end >> 20} MiB from address 0"
            )
        for start, end, who in self._taken:
            if gpa < end and start < gpa + size:
                raise AddressTaken(
                    f"{what} must lie at {gpa:#x}-{gpa + size - 1:#x}, "
                    f"but {start:#x}-{end - 1:#x} belongs to {who}"
                )
        self._taken.append((gpa, gpa + size, what))
        return self._memory.view(gpa, size)

    def claim_top(self, size: int, what: str) -> tuple[int, memoryview]:
        """The highest free pages below the PCI hole that hold size bytes. Raises DoesNotFit."""
        end = self._low_ram_end
        for start, taken_end, _ in sorted(self._taken, reverse=True):
            gpa = end - size & -layout.PAGE_SIZE
            if gpa >= taken_end:
                break
            end = min(end, start)
        else:
            gpa = -1
        if gpa < layout.VGA_HOLE_END:
            raise DoesNotFit(
                f"{what} of {size:#x} bytes does not fit guest RAM below "
                f"{self._low_ram_end:#x} beside what lies there: give the guest more memory"
            )
        return gpa, self.claim(gpa, size, what)
