# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Placement: what lies where in guest RAM when the guest starts."""

from __future__ import annotations

from pyvmm.memory import RAM, layout

from .errors import AddressTaken, DoesNotFit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.memory import GuestMemory

BOOT_INFO = 0x6000
"""One page: what a boot protocol hands over (start info or zero page)."""

COMMAND_LINE = 0x7000
"""One page, with the final NUL."""

COMMAND_LINE_PAGE = layout.PAGE_SIZE

_BOOT_INFO_END = 0x8000

LONG_MODE = 0x8000
"""What a guest that starts in 64-bit mode needs: descriptors, page tables. See long_mode.py."""

LOW_RAM_END = 0x9_FC00
"""Conventional memory ends here; what follows up to 1 MiB is the firmware's on a PC."""

_MIB = layout.MIB
_ANYWHERE = 1 << 64


class Placement:
    """Hands out ranges of guest RAM, each once.

    The ranges of the boot information and of the legacy hole are taken from the start, as no
    image may lie there.
    """

    __slots__ = ("_memory", "_ram", "_taken")

    def __init__(self, memory: GuestMemory) -> None:
        """Raises DoesNotFit for a guest without the first MiB of RAM."""
        self._memory = memory
        self._taken = [
            (BOOT_INFO, _BOOT_INFO_END, "boot information"),
            (LOW_RAM_END, layout.VGA_HOLE_END, "the legacy hole below 1 MiB"),
        ]
        self._ram = [(region.gpa, region.end) for region in memory.regions if region.kind == RAM]
        if self.low_ram_end < layout.VGA_HOLE_END:
            raise DoesNotFit("a guest needs at least 1 MiB of RAM to boot")

    @property
    def low_ram_end(self) -> int:
        """Where the RAM that begins at address 0 ends."""
        return max((end for start, end in self._ram if start == 0), default=0)

    def claim(self, gpa: int, size: int, what: str, *, needed: int = 0) -> memoryview:
        """The buffer of size bytes of RAM at gpa. Raises DoesNotFit, AddressTaken.

        needed is where all that is claimed for the same image ends, for the message.
        """
        if not any(start <= gpa and gpa + size <= end for start, end in self._ram):
            raise DoesNotFit(
                f"{what} must lie at {gpa:#x}-{gpa + size - 1:#x}, which is not (all) guest RAM: "
                f"the guest has {self._memory.ram_size // _MIB} MiB, "
                f"of which {self.low_ram_end // _MIB} MiB from address 0"
                f"{_more_memory(max(gpa + size, needed))}"
            )
        for start, end, who in self._taken:
            if gpa < end and start < gpa + size:
                raise AddressTaken(
                    f"{what} must lie at {gpa:#x}-{gpa + size - 1:#x}, "
                    f"but {start:#x}-{end - 1:#x} belongs to {who}"
                )
        self._taken.append((gpa, gpa + size, what))
        return self._memory.view(gpa, size)

    def claim_top(self, size: int, limit: int, what: str) -> tuple[int, memoryview]:
        """The highest free pages that hold size bytes and end at limit or below.

        Raises DoesNotFit.
        """
        for start, end in sorted(self._ram, reverse=True):
            gpa = self._highest(max(start, layout.VGA_HOLE_END), min(end, limit), size)
            if gpa is not None:
                return gpa, self.claim(gpa, size, what)
        below = f", and the kernel takes it below {limit:#x}" if limit < _ANYWHERE else ""
        raise DoesNotFit(
            f"{what} of {-(-size // _MIB)} MiB does not fit guest RAM beside what lies there: the "
            f"guest has {self._memory.ram_size // _MIB} MiB{below}; give the guest more memory, or "
            "make the initrd smaller"
        )

    def _highest(self, start: int, end: int, size: int) -> int | None:
        """Where size bytes are free in [start, end), in pages of their own, and highest."""
        for taken_start, taken_end, _ in sorted(self._taken, reverse=True):
            gpa = end - size & -layout.PAGE_SIZE
            if gpa < start or gpa >= taken_end:
                break
            end = min(end, taken_start)
        gpa = end - size & -layout.PAGE_SIZE
        return gpa if gpa >= start else None


def _more_memory(end: int) -> str:
    """The cure for what ends at an address beyond the RAM; "" if no guest has RAM up to there."""
    if end > layout.LOW_RAM_LIMIT:
        return ""
    return f"; give the guest at least {-(-end // _MIB)} MiB of memory, and some to work with"
