# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A Linux guest that reads from its NVMe drive, by pyvmm or by QEMU: how long, how many exits.

The same kernel and initramfs for both; bench/guests/nvme.sh runs in it, and tells on the serial
line when it begins and ends. What KVM counts are exits of all VMs there are, which is one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import NamedTuple

from pyvmm.config import load

from ..build import LINUX, ROOT
from ..errors import BenchError
from ..vmms import environment
from .contenders import run

_COUNTERS = Path("/sys/kernel/debug/kvm")
# Exits that go on to the VMM; all others KVM handles itself.
_TO_THE_VMM = ("io_exits", "mmio_exits")
_MARK = b"bench: "
_TOOK = re.compile(r"took (\d+) ns for (\d+), (\d+) at a time: (\d+) interrupts")
_PATIENCE = 120.0
"""Seconds; a guest that isn't through by then is stuck."""


class Reading(NamedTuple):
    """What a guest is to read: so many blocks of a size in bytes, depth at a time.

    Blocks of 4 KiB are anywhere, larger ones in sequence.
    """

    depth: int
    blocks: int
    size: int = 4096


class Found(NamedTuple):
    """What came out of a Reading."""

    rate: float
    """reads a second"""
    interrupts: float
    """of the drive, a second"""
    exits: float
    """of those that are counted, per read"""


class Life(NamedTuple):
    """What is told of one guest, from its start until it is through."""

    seconds: float
    """from exec to user space"""
    exits: float
    """until then"""
    found: list[Found]
    """one for each Reading"""


def count_exits() -> None:
    """Have KVM's counters where they can be read."""
    if not _COUNTERS.exists():
        run(["/run/pyvmm-lab/busybox", "mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])


def pyvmm(device: str, readings: Sequence[Reading]) -> list[str]:
    """The command line for a guest with a device, as a config has it."""
    program = str(ROOT / ".venv" / "bin" / "pyvmm")
    settings = (f"devices=[{device}]", f"cmdline={_cmdline(readings)}")
    return [program, "run", str(LINUX), "--set", settings[0], "--set", settings[1]]


def qemu(device: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """The same for QEMU, which is told of the device by options."""
    config = load(LINUX)
    assert config.kernel is not None
    assert config.initrd is not None
    return [
        *("qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host"),
        *("-m", f"{config.memory.size >> 20}M", "-smp", str(config.cpus)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", config.kernel, "-initrd", str(config.initrd.file)),
        *("-append", _cmdline(readings), *device),
    ]


def _cmdline(readings: Sequence[Reading]) -> str:
    words = ",".join(f"{depth}:{blocks}:{size}" for depth, blocks, size in readings)
    return f"{load(LINUX).cmdline} reads={words}"


def to_the_vmm() -> int:
    """Exits so far that went on to the VMM, of all kinds."""
    return sum(int((_COUNTERS / name).read_text()) for name in _TO_THE_VMM)


def live(
    command: Sequence[str], readings: Sequence[Reading], exits_so_far: Callable[[], int]
) -> Life:
    """Run a VM until its guest is through. Raises BenchError."""
    began = perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()
    ) as vmm:
        limit = Timer(_PATIENCE, vmm.kill)
        limit.start()
        try:
            said = marks(vmm)
            expect(said, "up")
            seconds, exits = perf_counter() - began, float(exits_so_far())
            read = [_reading(said, reading, exits_so_far) for reading in readings]
            return Life(seconds, exits, read)
        finally:
            limit.cancel()
            vmm.kill()


def _reading(said: Iterator[str], reading: Reading, exits_so_far: Callable[[], int]) -> Found:
    expect(said, "begin")
    before = exits_so_far()
    expect(said, "end")
    exits = exits_so_far() - before
    return found(next(said), reading, exits)


def found(said: str, reading: Reading, exits: int) -> Found:
    """What the guest says about a reading, with the exits that it took. Raises BenchError."""
    took = _TOOK.fullmatch(said)
    if took is None or (int(took[2]), int(took[3])) != (reading.blocks, reading.depth):
        raise BenchError(f"the guest said {said!r}, not how long it took")
    seconds = int(took[1]) / 1e9
    return Found(reading.blocks / seconds, int(took[4]) / seconds, exits / reading.blocks)


def marks(vmm: subprocess.Popen[bytes]) -> Iterator[str]:
    """What the script says for us, among all else on the serial line. Raises BenchError."""
    assert vmm.stdout is not None
    for line in vmm.stdout:
        if _MARK in line:
            yield line.partition(_MARK)[2].decode().strip()
    raise BenchError(f"{vmm.args!r} ended before its guest was through")


def expect(said: Iterator[str], mark: str) -> None:
    """Raises BenchError if the next mark is another one."""
    mark_said = next(said)
    if mark_said != mark:
        raise BenchError(f"the guest said {mark_said!r}, not {mark!r}")
