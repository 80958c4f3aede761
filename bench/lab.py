# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's VFIO, measured in the lab: one boot, in which bench.in_lab does the measuring.

A machine in software is slow, but to all contenders alike: it is the ratios that tell something.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pyvmm.lab.errors import LabError
from pyvmm.lab.session import Lab

from . import build, vmms
from .errors import BenchError, Skipped
from .in_lab.contenders import KERNEL, PREALLOC, QEMU, C
from .in_lab.map_dma import NOTES
from .measure import Goal, Row
from .settings import Settings

OTHERS = (C, QEMU, vmms.Q35, PREALLOC, KERNEL)

_DEVICES = "nvme,nvme"
_MEMORY = 2 << 30
_MUCH_MEMORY = 4 << 30
"""Of which a guest has 1.5 GiB"""
_LIMIT = 900.0
"""Seconds for each part."""


def rows(settings: Settings) -> Iterator[Row]:
    """Raises Skipped if there is no lab to be had."""
    noting = {"LD_PRELOAD": str(build.preload("map_times")), "MAP_TIMES": str(NOTES)}
    for name in ("map_dma", "read_disk"):
        build.program(name)
    prepare_linux()
    with booted(_DEVICES, memory=_MEMORY) as lab:
        yield from measured(lab, "map_dma", settings, **noting)
        # Before one of the drives becomes the kernel's.
        if vmms.has_qemu():
            yield from measured(lab, "linux", settings)
        yield from measured(lab, "drive", settings)
    with booted("nvme", memory=_MUCH_MEMORY) as lab:
        yield from measured(lab, "start", settings)


def prepare_linux() -> None:
    """Have what it takes to boot Linux in a lab. Raises BenchError."""
    build.linux_config(_say)


@contextmanager
def booted(devices: str, memory: int) -> Iterator[Lab]:
    """A lab with these devices and so many bytes of memory. Raises Skipped if none is to be had."""
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(Lab(devices, memory=memory, progress=_say))
        except LabError as error:
            raise Skipped(f"no lab: {error}") from None
        yield lab


def measured(lab: Lab, part: str, settings: Settings, **environment: str) -> list[Row]:
    """The rows of one of bench.in_lab's parts. Raises BenchError."""
    command = [sys.executable, "-m", "bench.in_lab", part, *["--quick"] * settings.quick]
    with tempfile.TemporaryFile() as output:
        try:
            status = lab.run(
                command,
                cwd=str(build.ROOT),
                env=vmms.environment(**environment),
                timeout=_LIMIT,
                stdout=output,
            )
        except LabError as error:
            raise BenchError(f"{part}: {error}") from None
        if status:
            raise BenchError(f"{part}: the command in the lab ended with status {status}")
        output.seek(0)
        return parse(output.read())


def parse(text: bytes) -> list[Row]:
    """The rows that bench.in_lab has printed."""
    return [
        Row(title, unit, samples, tuple(Goal(*goal) for goal in goals))
        for title, unit, samples, goals in json.loads(text)
    ]


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr)
