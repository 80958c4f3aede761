# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux with an NVMe drive of the host's, by pyvmm and by QEMU: its boot, its reads, its exits.

The same drive too, one VM after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..measure import (
    Goal,
    Row,
    Samples,
    at_least_times,
    at_most_times,
    below_times,
    exactly,
    take_turns,
)
from ..settings import Settings
from ..vmms import PYVMM, Q35
from .linux_exits import Exits, counted
from .linux_guest import Reading, count_exits, live, pyvmm, qemu, to_the_vmm

_SECONDS = 400.0
_TITLE = "Linux with an NVMe drive"
_READINGS = (Reading(1, 2000), Reading(32, 20000))


class _Metric(NamedTuple):
    """What is measured of each VM, and what is wanted of it."""

    title: str
    unit: str
    goals: Callable[[Samples], tuple[Goal, ...]]


def _below_qemu(samples: Samples) -> tuple[Goal, ...]:
    return below_times(1.0, samples, PYVMM, Q35)


def _at_most_qemu(samples: Samples) -> tuple[Goal, ...]:
    return at_most_times(1.0, samples, PYVMM, Q35)


def _at_least_qemu(samples: Samples) -> tuple[Goal, ...]:
    return at_least_times(1.0, samples, PYVMM, Q35)


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """Boots, reads and interrupts, then exits by kind; devices are drives that vfio-pci has."""
    count_exits()
    commands = {
        PYVMM: pyvmm(f'{{host: "{devices[0]}"}}', _READINGS),
        Q35: qemu(("-device", f"vfio-pci,host={devices[0]}"), _READINGS),
    }
    contenders = {name: partial(_measure, command) for name, command in commands.items()}
    measured = take_turns(contenders, 1 if settings.quick else 5, _SECONDS)
    for metric in measured[PYVMM][0]:
        title, unit, goals = metric
        samples = {name: [turn[metric] for turn in turns] for name, turns in measured.items()}
        yield Row(title, unit, samples, goals(samples))
    yield from _exits({name: counted(name, commands[name], _READINGS) for name in commands})


def _exits(found: Mapping[str, Exits]) -> Iterator[Row]:
    """One VM of each: they do always the same, but for what the guest's clock asks for."""
    everything: Counter[str] = Counter()
    for exits in found.values():
        everything += exits.boot
    for kind, _ in everything.most_common():
        samples = {name: [float(exits.boot[kind])] for name, exits in found.items()}
        yield Row(f"{_TITLE}: of those exits, {kind}", "exits", samples)
    for at, reading in enumerate(_READINGS):
        title = f"reads of 4 KiB in it, {reading.depth} at a time: exits but for the serial port's"
        samples = {name: [exits.per_read[at]] for name, exits in found.items()}
        yield Row(title, "per read", samples, exactly(0, samples, PYVMM))


def _measure(command: Sequence[str]) -> dict[_Metric, float]:
    """Everything about one VM, from its start until its guest is through."""
    life = live(command, _READINGS, to_the_vmm)
    metrics = {
        _Metric(f"{_TITLE}: exec to user space", "s", _below_qemu): life.seconds,
        _Metric(f"{_TITLE}: exits until then", "exits", _at_most_qemu): life.exits,
    }
    for reading, found in zip(_READINGS, life.found, strict=True):
        title = f"reads of 4 KiB in it, {reading.depth} at a time"
        metrics |= {
            _Metric(title, "IOPS", _at_least_qemu): found.rate,
            _Metric(f"{title}: interrupts", "1/s", _at_least_qemu): found.interrupts,
        }
    return metrics
