# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How much memory a VMM takes besides the guest's RAM.

The guest says a byte and sleeps. The RAM is shared memory (a memfd) in all of them, so that the
kernel counts it apart, and almost none of it is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import build, vmms
from .measure import Row, below_times, take_turns
from .settings import Settings
from .vmms import C_LOOP, MICROVM, PYVMM, Q35

_QEMU_RAM = f"memory-backend-memfd,id=ram,size={vmms.MEMORY},share=on"


def rows(settings: Settings) -> Iterator[Row]:
    guest = build.guest("idle")
    commands = vmms.commands(guest)
    for name, machine in ((Q35, "q35"), (MICROVM, "microvm")):
        if name in commands:
            ram = ("-object", _QEMU_RAM)
            commands[name] = vmms.qemu(f"{machine},memory-backend=ram", guest, *ram)
    commands[PYVMM] += ["--set", "memory.backing=shared"]
    del commands[C_LOOP]  # its RAM isn't a memfd, and it is no VMM that one would run
    for title, measure in (
        ("peak memory beyond guest RAM", _peak),
        ("of it, not backed by files (RssAnon)", _anonymous),
    ):
        contenders = {name: _measured(command, measure) for name, command in commands.items()}
        samples = take_turns(contenders, settings.rounds(3), settings.seconds(5))
        goals = below_times(1, samples, PYVMM, Q35) if measure is _peak else ()
        yield Row(title, "MiB", samples, goals)


def _measured(
    command: Sequence[str], measure: Callable[[dict[str, int]], int]
) -> Callable[[], float]:
    def run() -> float:
        with vmms.running(command) as vmm:
            vmm.byte()
            return measure(status(Path(f"/proc/{vmm.pid}/status").read_text())) / 1024

    return run


def _peak(status: dict[str, int]) -> int:
    return status["VmHWM"] - status["RssShmem"]


def _anonymous(status: dict[str, int]) -> int:
    return status["RssAnon"]


def status(text: str) -> dict[str, int]:
    """The sizes in a /proc/PID/status, in KiB."""
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if unit == "kB":
            sizes[name] = int(number)
    return sizes
