# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How long until the first byte of a guest all of whose RAM is there by then.

That is what devices want that do DMA to it, and all processors can see to it: pyvmm has
memory.prealloc, QEMU prealloc with as many threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyvmm.memory import PRIVATE, SHARED

from . import build, vmms
from .measure import Row, at_most_times, take_turns
from .settings import Settings
from .startup import from_exec
from .vmms import PYVMM, Q35

_SIZE = 3 << 29
_KINDS = (
    ("pages of 4 KiB", SHARED, "memory-backend-memfd,share=on"),
    ("transparent huge pages", PRIVATE, "memory-backend-ram"),
)


def rows(settings: Settings) -> Iterator[Row]:
    for title, backing, object in _KINDS:
        commands = {PYVMM: _pyvmm(backing)}
        if vmms.has_qemu():
            commands[Q35] = _qemu(object)
        contenders = {name: from_exec(command) for name, command in commands.items()}
        samples = take_turns(contenders, settings.rounds(9), settings.seconds(40))
        goals = at_most_times(1.0, samples, PYVMM, Q35)
        what = f"start with {_SIZE / 2**30:g} GiB there, {title}"
        yield Row(f"{what}: exec to first serial byte", "ms", samples, goals)


def _pyvmm(backing: str) -> list[str]:
    command = vmms.pyvmm(build.FIRST_BYTE)
    for setting in (f"size={_SIZE}", f"backing={backing}", "prealloc=true"):
        command += ["--set", f"memory.{setting}"]
    return command


def _qemu(object: str) -> list[str]:
    threads = len(os.sched_getaffinity(0))
    ram = f"{object},id=ram,size={_SIZE},prealloc=on,prealloc-threads={threads}"
    return vmms.qemu(
        "q35,memory-backend=ram", build.FIRST_BYTE, "-object", ram, memory=f"{_SIZE >> 20}M"
    )
