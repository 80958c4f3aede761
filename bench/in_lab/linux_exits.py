# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a Linux guest with a drive leaves for, by kind: until user space, and while it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pyvmm.memory.layout import ECAM_BASE, ECAM_SIZE

from ..vmms import Q35
from .exit_kinds import IN_KERNEL, SERIAL, counting
from .linux_guest import Reading, live

PYVMM_ECAM = range(ECAM_BASE, ECAM_BASE + ECAM_SIZE)
_ECAM = {Q35: range(0xB000_0000, 0xC000_0000)}


class Exits(NamedTuple):
    boot: Counter[str]
    """until user space, by kind"""
    per_read: list[float]
    """of each Reading: those to the VMM, but for the serial port's, on which the script tells"""


def counted(name: str, command: Sequence[str], readings: Sequence[Reading]) -> Exits:
    """Count those of one VM, which nothing else is measured of. Raises BenchError.

    name is the VMM's: it tells where the guest's configuration space is.
    """
    ecam = _ECAM.get(name, PYVMM_ECAM)
    seen: list[Counter[str]] = []
    with counting() as exits:

        def to_the_vmm() -> int:
            kinds = exits.so_far(ecam)
            seen.append(kinds)
            return sum(count for kind, count in kinds.items() if kind not in (IN_KERNEL, SERIAL))

        life = live(command, readings, to_the_vmm)
    return Exits(seen[0], [found.exits for found in life.found])
