# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux with an NVMe drive of the host's, by pyvmm and by QEMU: its boot, its reads, its exits.

The same kernel, initramfs and drive, one VM after the other; bench/guests/nvme.sh runs in it. What
KVM counts are exits of all VMs there are, which is one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import NamedTuple

from pyvmm.config import load

from ..build import LINUX, ROOT
from ..errors import BenchError
from ..measure import (
    Goal,
    Row,
    Samples,
    at_least_times,
    at_most,
    at_most_times,
    below_times,
    take_turns,
)
from ..settings import Settings
from ..vmms import PYVMM, Q35, environment
from .contenders import run

_COUNTERS = Path("/sys/kernel/debug/kvm")
# Exits that go on to the VMM; all others KVM handles itself.
_TO_THE_VMM = ("io_exits", "mmio_exits")
_SECONDS = 400.0
_MARK = b"bench: "
_TITLE = "Linux with an NVMe drive"
_DEPTHS = (1, 32)
"""As bench/guests/nvme.sh has them"""
_TOOK = re.compile(r"took (\d+) ns for (\d+), (\d+) at a time: (\d+) interrupts")
_PATIENCE = 120.0
"""Seconds; a guest that isn't through by then is stuck."""


class _Metric(NamedTuple):
    """What is measured of each VM, and what is wanted of it."""

    title: str
    unit: str
    goals: Callable[[Samples], tuple[Goal, ...]]


def _below_qemu(samples: Samples) -> tuple[Goal, ...]:
    return below_times(1.0, samples, PYVMM, Q35)


def _at_most_qemu(samples: Samples) -> tuple[Goal, ...]:
    return at_most_times(1.0, samples, PYVMM, Q35)


def _hardly_any(samples: Samples) -> tuple[Goal, ...]:
    return at_most(0.1, samples, PYVMM)  # the script's own words, byte by byte


def _at_least_qemu(samples: Samples) -> tuple[Goal, ...]:
    return at_least_times(1.0, samples, PYVMM, Q35)


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """Boots, exits, reads and interrupts; devices are drives that vfio-pci has."""
    if not _COUNTERS.exists():
        run(["/run/pyvmm-lab/busybox", "mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])
    contenders = {
        PYVMM: partial(_measure, _pyvmm(devices[0])),
        Q35: partial(_measure, _qemu(devices[0])),
    }
    found = take_turns(contenders, 1 if settings.quick else 5, _SECONDS)
    for metric in found[PYVMM][0]:
        title, unit, goals = metric
        samples = {name: [turn[metric] for turn in turns] for name, turns in found.items()}
        yield Row(title, unit, samples, goals(samples))


def _measure(command: Sequence[str]) -> dict[_Metric, float]:
    """Everything about one VM, from its start until its guest is through."""
    began = perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()
    ) as vmm:
        limit = Timer(_PATIENCE, vmm.kill)
        limit.start()
        try:
            marks = _marks(vmm)
            _expect(marks, "up")
            found = {
                _Metric(f"{_TITLE}: exec to user space", "s", _below_qemu): perf_counter() - began,
                _Metric(f"{_TITLE}: exits until then", "exits", _at_most_qemu): float(_exits()),
            }
            for depth in _DEPTHS:
                found |= _reading(marks, depth)
            return found
        finally:
            limit.cancel()
            vmm.kill()


def _reading(marks: Iterator[str], depth: int) -> dict[_Metric, float]:
    _expect(marks, "begin")
    before = _exits()
    _expect(marks, "end")
    exits = _exits() - before
    said = next(marks)
    took = _TOOK.fullmatch(said)
    if took is None or int(took[3]) != depth:
        raise BenchError(f"the guest said {said!r}, not how long it took")
    seconds, reads, interrupts = int(took[1]) / 1e9, int(took[2]), int(took[4])
    title = f"reads of 4 KiB in it, {depth} at a time"
    return {
        _Metric(title, "IOPS", _at_least_qemu): reads / seconds,
        _Metric(f"{title}: interrupts", "1/s", _at_least_qemu): interrupts / seconds,
        _Metric(f"{title}: exits", "per read", _hardly_any): exits / reads,
    }


def _marks(vmm: subprocess.Popen[bytes]) -> Iterator[str]:
    assert vmm.stdout is not None
    for line in vmm.stdout:
        if _MARK in line:
            yield line.partition(_MARK)[2].decode().strip()
    raise BenchError(f"{vmm.args!r} ended before its guest was through")


def _expect(marks: Iterator[str], mark: str) -> None:
    said = next(marks)
    if said != mark:
        raise BenchError(f"the guest said {said!r}, not {mark!r}")


def _exits() -> int:
    return sum(int((_COUNTERS / name).read_text()) for name in _TO_THE_VMM)


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
