# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How long until the guest's first byte: from exec, from Machine.start(), and for the first time.

The guest writes its byte with its third instruction, so that no firmware is measured.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from pyvmm.config import parse
from pyvmm.machine import Machine

from . import build, vmms
from .measure import Row, at_most_times, take_turns
from .settings import Settings
from .vmms import PYVMM, Q35


def rows(settings: Settings) -> Iterator[Row]:
    rounds = settings.rounds(25)
    commands = vmms.commands(build.FIRST_BYTE)
    warm = {name: from_exec(command) for name, command in commands.items()}
    samples = take_turns(warm, rounds, settings.seconds(20))
    goals = at_most_times(0.8, samples, PYVMM, Q35)
    yield Row("exec to first serial byte", "ms", samples, goals)

    samples = take_turns(warm | {PYVMM: _new_config}, rounds, settings.seconds(20))
    yield Row("the same with a config not seen before", "ms", samples)

    samples = take_turns(warm | {PYVMM: _in_process}, rounds, settings.seconds(20))
    goals = at_most_times(0.3, samples, PYVMM, Q35)
    yield Row("Machine.start() to first serial byte; others from exec", "ms", samples, goals)

    with tempfile.TemporaryDirectory(prefix="pyvmm-bench-") as folder:
        cold = {PYVMM: lambda: _first_ever(Path(folder))}
        samples = take_turns(cold, settings.rounds(7), settings.seconds(10))
    yield Row("the same from exec, nothing cached (.pyc, config)", "ms", samples)


def from_exec(command: Sequence[str], env: Mapping[str, str] | None = None) -> Callable[[], float]:
    """Milliseconds from starting a VMM to its guest's first byte, each time that it is called."""

    def measure() -> float:
        start = perf_counter()
        with vmms.running(command, env) as vmm:
            first = vmm.byte()
            vmm.end()
        return (first - start) * 1e3

    return measure


def _new_config() -> float:
    """As after a change of the config: it is parsed and checked anew."""
    with tempfile.NamedTemporaryFile("w", prefix="pyvmm-bench-", suffix=".yaml") as file:
        file.write(f"firmware: {build.FIRST_BYTE}\nmemory: {vmms.MEMORY}\n")
        file.flush()
        return from_exec([vmms.pyvmm(build.FIRST_BYTE)[0], "run", file.name])()


def _in_process() -> float:
    config = parse({"firmware": str(build.FIRST_BYTE), "memory": vmms.MEMORY, "serial": "none"})
    start = perf_counter()
    with Machine(config) as vm:
        vm.start()
        vm.console.expect(b".", timeout=vmms.PATIENCE)
        return (perf_counter() - start) * 1e3


def _first_ever(folder: Path) -> float:
    """As after an installation without .pyc files: from a fresh copy of the package.

    Python's own library and msgspec have theirs, and all files are in the page cache.
    """
    shutil.rmtree(folder / "pyvmm", ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    shutil.copytree(
        build.ROOT / "pyvmm", folder / "pyvmm", ignore=shutil.ignore_patterns("__pycache__")
    )
    env = vmms.environment(PYTHONPATH=str(folder), XDG_CACHE_HOME=str(folder / "cache"))
    (folder / "cache").mkdir()
    return from_exec(vmms.pyvmm(build.FIRST_BYTE), env)()
