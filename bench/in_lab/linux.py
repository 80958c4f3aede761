# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux with an NVMe drive of the host's, by pyvmm and by QEMU: its boot, and its reads.

One VM after the other. What KVM counts are exits of all VMs there are, which is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from ..measure import Goal, Row, Samples, at_least_times, at_most_times, below_times, take_turns
from ..settings import Settings
from ..vmms import PYVMM, Q35
from . import linux_exits
from .contenders import run
from .linux_vm import DEPTHS, TITLE, Contender, Guest, contenders

_COUNTERS = Path("/sys/kernel/debug/kvm")
# Exits that go on to the VMM; all others KVM handles itself.
_TO_THE_VMM = ("io_exits", "mmio_exits")
_SECONDS = 400.0


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
    if not _COUNTERS.exists():
        run(["/run/pyvmm-lab/busybox", "mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])
    both = contenders(devices[0])
    measures = {name: partial(_measure, contender) for name, contender in both.items()}
    found = take_turns(measures, 1 if settings.quick else 5, _SECONDS)
    for metric in found[PYVMM][0]:
        title, unit, goals = metric
        samples = {name: [turn[metric] for turn in turns] for name, turns in found.items()}
        yield Row(title, unit, samples, goals(samples))
    yield from linux_exits.rows(both)


def _measure(contender: Contender) -> dict[_Metric, float]:
    """Everything about one VM, from its start until its guest is through."""
    began = perf_counter()
    with contender.guest() as guest:
        guest.comes_up()
        found = {
            _Metric(f"{TITLE}: exec to user space", "s", _below_qemu): perf_counter() - began,
            _Metric(f"{TITLE}: exits until then", "exits", _at_most_qemu): float(_exits()),
        }
        for depth in DEPTHS:
            found |= _reading(guest, depth)
        return found


def _reading(guest: Guest, depth: int) -> dict[_Metric, float]:
    guest.begins_to_read()
    seconds, reads, interrupts = guest.has_read(depth)
    title = f"reads of 4 KiB in it, {depth} at a time"
    return {
        _Metric(title, "IOPS", _at_least_qemu): reads / seconds,
        _Metric(f"{title}: interrupts", "1/s", _at_least_qemu): interrupts / seconds,
    }


def _exits() -> int:
    return sum(int((_COUNTERS / name).read_text()) for name in _TO_THE_VMM)
