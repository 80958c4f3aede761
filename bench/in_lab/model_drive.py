# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux with an NVMe drive that is software: pyvmm's model in another process, QEMU's in QEMU.

Both drives are in memory, of the same size, and so are the guests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import vmms
from ..measure import Row, take_turns
from ..settings import Settings
from ..vmms import PYVMM, Q35
from .linux_guest import Found, Reading, count_exits, live, pyvmm, qemu, to_the_vmm

IOEVENTFD = "pyvmm, ioeventfd"
"""The model with doorbells that are no exits to the VMM"""

_SIZE = 64 << 20
_SECONDS = 90.0
_MIB = 1 << 20


def rows(settings: Settings, _devices: Sequence[str]) -> Iterator[Row]:
    """Two for each kind of reading: how quick, and how many exits."""
    readings = _readings(settings)
    count_exits()
    with TemporaryDirectory(prefix="pyvmm-bench-") as folder:
        commands = _commands(readings, Path(folder) / "disk.img")
        contenders = {
            name: partial(live, command, readings, to_the_vmm) for name, command in commands.items()
        }
        if settings.quick:  # a boot takes long: there are fewer, and the first counts
            del contenders[IOEVENTFD]
            lives = {name: [contender()] for name, contender in contenders.items()}
        else:
            lives = take_turns(contenders, 5, _SECONDS)
    for at, reading in enumerate(readings):
        found = {name: [life.found[at] for life in lives[name]] for name in lives}
        title, row = _rates(reading, found)
        yield row
        # By KVM's counters: its tracing has the writes that ioeventfds take, too.
        exits = {name: [each.exits for each in values] for name, values in found.items()}
        yield Row(f"{title}: exits", "per read", exits)


def _readings(settings: Settings) -> tuple[Reading, ...]:
    few = 4 if settings.quick else 1
    return (
        Reading(1, 400 // few),
        Reading(32, 3200 // few),
        Reading(8, 200 // few, 128 << 10),
    )


def _commands(readings: Sequence[Reading], disk: Path) -> dict[str, list[str]]:
    model = f"model: nvme, process: true, options: {{size: {_SIZE >> 20}M%s}}"
    commands = {
        PYVMM: pyvmm(f"{{{model % ''}}}", readings),
        IOEVENTFD: pyvmm(f"{{{model % ', ioeventfd: true'}}}", readings),
    }
    if vmms.has_qemu():
        with disk.open("wb") as file:
            file.write(bytes(_SIZE))  # no holes, which would be read without their pages
        drive = ("-drive", f"file={disk},if=none,id=disk,format=raw")
        commands[Q35] = qemu((*drive, "-device", "nvme,drive=disk,serial=bench"), readings)
    return commands


def _rates(reading: Reading, turns: Mapping[str, Sequence[Found]]) -> tuple[str, Row]:
    """What it is called, and how quick it is."""
    if reading.size == 4096:
        kind, unit, scale = "4 KiB at random", "IOPS", 1.0
    else:
        kind = f"{reading.size >> 10} KiB in sequence"
        unit, scale = "MiB/s", reading.size / _MIB
    title = f"NVMe model: reads of {kind}, {reading.depth} at a time"
    rates = {name: [found.rate * scale for found in values] for name, values in turns.items()}
    return title, Row(title, unit, rates)
