# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The contenders: how each VMM is told to boot a firmware image, serial line on stdout."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from . import build
from .errors import BenchError

PYVMM = "pyvmm"
C_LOOP = "C loop"
Q35 = "QEMU q35"
MICROVM = "QEMU microvm"
CONTENDERS = (PYVMM, C_LOOP, Q35, MICROVM)

QEMU = "qemu-system-x86_64"
MEMORY = "64M"
PATIENCE = 60.0
"""Seconds; a guest that is silent for so long is stuck."""

_STDERR_LIMIT = 2000


def has_qemu() -> bool:
    return shutil.which(QEMU) is not None


def qemu(machine: str, firmware: Path, *options: str, memory: str = MEMORY) -> list[str]:
    """QEMU's quickest way to that firmware: no default devices, and a port to leave by."""
    return [
        *(QEMU, "-M", machine, "-accel", "kvm", "-cpu", "qemu64", "-m", memory),
        *("-nodefaults", "-display", "none", "-serial", "stdio"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-bios", str(firmware), *options),
    ]


def pyvmm(firmware: Path) -> list[str]:
    return [str(build.ROOT / ".venv" / "bin" / "pyvmm"), "run", str(config(firmware))]


def config(firmware: Path) -> Path:
    """A config file for pyvmm that boots the firmware."""
    path = build.BUILD / f"{firmware.stem}.yaml"
    text = f"firmware: {firmware}\nmemory: {MEMORY}\n"
    if not path.exists() or path.read_text() != text:
        build.BUILD.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def c_loop(firmware: Path) -> list[str]:
    return [str(build.program("exit_loop", "vmm")), str(firmware)]


def commands(firmware: Path) -> dict[str, list[str]]:
    """Every contender's command line; without QEMU's where there is no QEMU."""
    found = {PYVMM: pyvmm(firmware), C_LOOP: c_loop(firmware)}
    if has_qemu():
        found |= {Q35: qemu("q35", firmware), MICROVM: qemu("microvm", firmware)}
    return found


def environment(**changes: str) -> dict[str, str]:
    """What the contenders see: as a user's shell, so that pyvmm's .pyc files are written and used.

    Configs that pyvmm has seen are remembered apart from the user's.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"XDG_CACHE_HOME": str(build.BUILD / "cache")} | changes


class Running:
    """A VMM that runs, and what its guest says."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.pid = process.pid
        self._process = process
        self._output = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)

    def byte(self) -> float:
        """Wait for the guest's next byte; returns when it came, in perf_counter()'s seconds.

        Raises BenchError if it doesn't come.
        """
        if not self._poll.poll(PATIENCE * 1000):
            raise BenchError(f"{self._name}: the guest said nothing for {PATIENCE:g} s")
        data = os.read(self._output, 1)
        now = perf_counter()
        if not data:
            raise BenchError(f"{self._name} ended before its guest spoke: {self._stderr()}")
        return now

    def errors(self) -> str:
        """What it has said on stderr, once it has ended."""
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace")

    def end(self) -> None:
        """Wait until it has ended by itself. Raises BenchError if it doesn't."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self._name}: the guest does not end") from None

    @property
    def _name(self) -> str:
        args = self._process.args
        return " ".join(map(str, args)) if isinstance(args, list) else str(args)

    def _stderr(self) -> str:
        self._process.kill()
        assert self._process.stderr is not None
        text = self._process.stderr.read(_STDERR_LIMIT).decode(errors="replace").strip()
        return text or f"exit status {self._process.wait()}"


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start a VMM; on leaving it is no more, whatever has happened."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() if env is None else env,
    )
    with process:
        try:
            yield Running(process)
        finally:
            process.kill()
