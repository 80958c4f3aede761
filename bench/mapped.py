# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Exits per access of a device's BAR, where it is mapped and where it is trapped.

guests/storm makes n reads and n writes of the test device, which runs in a process of its own.
KVM's counters of two runs that differ in nothing but n are subtracted: what is left is what the
accesses took. mmio_exits are those to the VMM; exits counts whatever else got the processor out
of the guest too, such as the host's timer, and the odd character more on the serial line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pyvmm.config import parse
from pyvmm.machine import Machine

from . import vmms
from .build import STORM
from .errors import BenchError
from .measure import Row, exactly
from .settings import Settings
from .vmms import PYVMM

_FEW, _MANY = 1000, 5000


class _Exits(NamedTuple):
    mmio: float
    all: float


def rows(settings: Settings) -> Iterator[Row]:
    mapped = [_per_access("mapped") for _ in range(settings.rounds(3))]
    samples = {PYVMM: [exits.mmio for exits in mapped]}
    yield Row("mapped BAR: mmio_exits", "per access", samples, exactly(0, samples, PYVMM))
    yield Row("mapped BAR: exits of any kind", "per access", {PYVMM: [e.all for e in mapped]})
    yield Row("trapped BAR: mmio_exits", "per access", {PYVMM: [_per_access("mmio").mmio]})


def _per_access(mode: str) -> _Exits:
    accesses = 2 * (_MANY - _FEW)
    few, many = (_counted(mode, n) for n in (_FEW, _MANY))
    return _Exits((many.mmio - few.mmio) / accesses, (many.all - few.all) / accesses)


def _counted(mode: str, n: int) -> _Exits:
    config = parse(
        {
            "kernel": str(STORM),
            "cmdline": f"mode={mode} n={n}",
            "devices": [{"model": "testdev", "process": True}],
            "serial": "none",
        }
    )
    with Machine(config) as vm:
        vm.start()
        outcome = vm.wait(vmms.PATIENCE)
        if outcome is None or outcome.code != 0:
            how = outcome.detail if outcome else "it has not ended"
            raise BenchError(f"guests/storm mode={mode}: {how}: {vm.console.text.strip()}")
        stats = vm.stats()
        return _Exits(stats["mmio_exits"], stats["exits"])
