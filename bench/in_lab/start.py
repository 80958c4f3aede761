# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How long until a guest with much RAM says its first byte, all of it pinned for a device.

From exec; the guest says it with its third instruction. pyvmm's own phases are shown besides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from .. import vmms
from ..build import FIRST_BYTE, ROOT
from ..measure import Row, at_most_times, take_turns
from ..settings import Settings
from ..vmms import PYVMM, Q35
from .contenders import PREALLOC
from .ram import KINDS, Kind

SIZE = 3 << 29
PHASE = re.compile(r"^pyvmm: +(\S.*?) +(\d+\.\d\d) ms$", re.MULTILINE)


class _Start(NamedTuple):
    seconds: float
    phases: dict[str, float]
    """In seconds; others than pyvmm tell of none."""


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """Some for each kind of memory; the guest has the first of the devices, which vfio-pci has."""
    for kind in KINDS:
        kind.prepare(SIZE)
        with TemporaryDirectory(prefix="pyvmm-bench-") as folder:
            commands = _commands(kind, devices[0], Path(folder))
            contenders = {name: partial(_measure, command) for name, command in commands.items()}
            found = take_turns(contenders, settings.rounds(9), settings.seconds(90))
        samples = {name: [start.seconds for start in starts] for name, starts in found.items()}
        title = f"start with {SIZE / 2**30:g} GiB, {kind.title}"
        goals = at_most_times(1.0, samples, PYVMM, Q35)
        yield Row(f"{title}: exec to first serial byte", "s", samples, goals)
        for phase in found[PYVMM][0].phases:
            shown = {PYVMM: [start.phases[phase] for start in found[PYVMM]]}
            yield Row(f"{title}: {phase}", "s", shown)
    KINDS[0].prepare(0)


def _commands(kind: Kind, bdf: str, folder: Path) -> dict[str, list[str]]:
    config = {
        "firmware": str(FIRST_BYTE),
        "memory": {"size": SIZE, "backing": kind.in_config},
        "devices": [{"host": bdf}],
    }
    path = folder / "vm.yaml"
    path.write_text(json.dumps(config))
    commands = {PYVMM: [str(ROOT / ".venv" / "bin" / "pyvmm"), "run", "-v", str(path)]}
    if not vmms.has_qemu():
        return commands
    for name, options in ((Q35, ""), (PREALLOC, ",prealloc=on")):
        ram = f"{kind.in_qemu},id=ram,size={SIZE}{options}"
        device = ("-object", ram, "-device", f"vfio-pci,host={bdf},rombar=0")
        commands[name] = vmms.qemu(
            "q35,memory-backend=ram", FIRST_BYTE, *device, memory=f"{SIZE >> 20}M"
        )
    return commands


def _measure(command: Sequence[str]) -> _Start:
    began = perf_counter()
    with vmms.running(command) as vmm:
        first = vmm.byte()
        vmm.end()
        phases = {name: float(ms) / 1e3 for name, ms in PHASE.findall(vmm.errors())}
    return _Start(first - began, phases)
