# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A Linux guest with an NVMe drive of the host's, by pyvmm and by QEMU.

Both have the same kernel, initramfs, command line and drive. bench/guests/nvme.sh runs in it, and
says on the serial line how far it is.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import NamedTuple

from pyvmm.config import load
from pyvmm.memory.layout import ECAM_BASE, ECAM_SIZE

from ..build import LINUX, ROOT
from ..errors import BenchError
from ..vmms import PYVMM, Q35, environment

TITLE = "Linux with an NVMe drive"
DEPTHS = (1, 32)
"""As bench/guests/nvme.sh has them"""
_MARK = b"bench: "
_TOOK = re.compile(r"took (\d+) ns for (\d+), (\d+) at a time: (\d+) interrupts")
_PATIENCE = 120.0
"""Seconds; a guest that isn't through by then is stuck."""


class Reading(NamedTuple):
    """Reads of 4 KiB, as the guest has seen them."""

    seconds: float
    reads: int
    interrupts: int


class Guest:
    """A guest that runs; to be asked in the order of what it does."""

    def __init__(self, vmm: subprocess.Popen[bytes]) -> None:
        self._marks = _marks(vmm)

    def comes_up(self) -> None:
        """Until user space has the drive. Raises BenchError, as all do here."""
        self._expect("up")

    def begins_to_read(self) -> None:
        self._expect("begin")

    def has_read(self, depth: int) -> Reading:
        """So many at a time."""
        self._expect("end")
        said = next(self._marks)
        took = _TOOK.fullmatch(said)
        if took is None or int(took[3]) != depth:
            raise BenchError(f"the guest said {said!r}, not how long it took")
        return Reading(int(took[1]) / 1e9, int(took[2]), int(took[4]))

    def _expect(self, mark: str) -> None:
        said = next(self._marks)
        if said != mark:
            raise BenchError(f"the guest said {said!r}, not {mark!r}")


class Contender(NamedTuple):
    """A VMM that has such a guest, and where the guest's configuration space is (ECAM)."""

    command: Sequence[str]
    ecam: range

    @contextmanager
    def guest(self) -> Iterator[Guest]:
        with subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()
        ) as vmm:
            limit = Timer(_PATIENCE, vmm.kill)
            limit.start()
            try:
                yield Guest(vmm)
            finally:
                limit.cancel()
                vmm.kill()


def contenders(bdf: str) -> dict[str, Contender]:
    """Both of them; bdf is a drive that vfio-pci has."""
    return {
        PYVMM: Contender(_pyvmm(bdf), range(ECAM_BASE, ECAM_BASE + ECAM_SIZE)),
        Q35: Contender(_qemu(bdf), range(0xB000_0000, 0xC000_0000)),
    }


def _marks(vmm: subprocess.Popen[bytes]) -> Iterator[str]:
    assert vmm.stdout is not None
    for line in vmm.stdout:
        if _MARK in line:
            yield line.partition(_MARK)[2].decode().strip()
    raise BenchError(f"{vmm.args!r} ended before its guest was through")


def _pyvmm(bdf: str) -> list[str]:
    program = str(ROOT / ".venv" / "bin" / "pyvmm")
    return [program, "run", str(LINUX), "--set", f"devices[0].host={bdf}"]


def _qemu(bdf: str) -> list[str]:
    config = load(LINUX)
    assert config.kernel is not None
    assert config.initrd is not None
    return [
        *("qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host"),
        *("-m", f"{config.memory.size >> 20}M", "-smp", str(config.cpus)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", config.kernel, "-initrd", str(config.initrd.file)),
        *("-append", config.cmdline or "", "-device", f"vfio-pci,host={bdf}"),
    ]
