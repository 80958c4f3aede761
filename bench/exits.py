# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a trapped access costs: one exit, its handler, and back into the guest.

Every VMM runs the same guest, a loop of reads between two bytes on the serial line, and is timed
from outside by when these bytes arrive. The loop's own instructions are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from . import build, vmms
from .measure import Row, at_most_times, below_above, take_turns
from .settings import Settings
from .vmms import C_LOOP, PYVMM

COUNT = 6000
POST_CODE_PORT = 0x80
UNCLAIMED_GPA = 0xD000_0000
"""In the PCI hole of all the machines, and nobody's."""
ECAM_GPA = 0xE000_0000
"""Where pyvmm has the host bridge's vendor and device id. (QEMU's firmware would set up ECAM.)"""


def rows(settings: Settings) -> Iterator[Row]:
    everyone = vmms.CONTENDERS
    yield _row(settings, "PIO read exit, port 0x80", everyone, PORT=POST_CODE_PORT)
    yield _row(settings, "MMIO read exit, unclaimed address", everyone, MMIO_GPA=UNCLAIMED_GPA)
    yield _row(settings, "MMIO read exit, config space by ECAM", (PYVMM, C_LOOP), MMIO_GPA=ECAM_GPA)


def _row(settings: Settings, title: str, who: Sequence[str], **symbols: int) -> Row:
    commands = vmms.commands(build.guest("exits", COUNT=COUNT, **symbols))
    contenders = {name: _each(command) for name, command in commands.items() if name in who}
    samples = take_turns(contenders, settings.rounds(25), settings.seconds(20))
    goals = at_most_times(1.25, samples, PYVMM, C_LOOP)
    goals += below_above(2.5, "µs", samples, PYVMM, C_LOOP)
    return Row(title, "µs", samples, goals)


def _each(command: Sequence[str]) -> Callable[[], float]:
    def measure() -> float:
        with vmms.running(command) as vmm:
            start = vmm.byte()
            end = vmm.byte()
            vmm.end()
        return (end - start) / COUNT * 1e6

    return measure
