# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux with an NVMe drive of the host's, by pyvmm and by QEMU: its boot, its reads, its exits.

The same kernel, initramfs and drive, one VM after the other; bench/guests/nvme.sh runs in it. What
KVM counts are exits of all VMs there are, which is one.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from pyvmm.config import load

from ..build import LINUX, ROOT
from ..errors import BenchError
from ..measure import Goal, Row, Samples, at_most, at_most_times, below_times
from ..settings import Settings
from ..vmms import PYVMM, Q35, environment
from .contenders import run

_COUNTERS = Path("/sys/kernel/debug/kvm")
# Exits that go on to the VMM; all others KVM handles itself.
_TO_THE_VMM = ("io_exits", "mmio_exits")
_MARK = b"bench: "
_TITLE = "Linux with an NVMe drive"
_READS = ((1, 1500), (32, 50))
"""As bench/guests/nvme.sh has them: how many at a time, and how often."""


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
    return at_most(0.1, samples, PYVMM)


def _none(_: Samples) -> tuple[Goal, ...]:
    return ()


class _Phase(NamedTuple):
    """Between two marks of the guest's."""

    seconds: float
    exits: int


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """Boots, exits, reads and interrupts; devices are drives that vfio-pci has."""
    if not _COUNTERS.exists():
        run(["/run/pyvmm-lab/busybox", "mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])
    commands = {PYVMM: _pyvmm(devices[0]), Q35: _qemu(devices[0])}
    found: defaultdict[_Metric, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for round in range(settings.rounds(5) + 1):
        for name, command in commands.items():
            measured = _measure(command)
            if round:  # the first one fills caches
                for metric, value in measured.items():
                    found[metric][name].append(value)
        if settings.quick and round == 1:
            break
    for (title, unit, goals), samples in found.items():
        yield Row(title, unit, samples, goals(samples))


def _measure(command: Sequence[str]) -> dict[_Metric, float]:
    """Everything about one VM, from its start until its guest is through."""
    began = perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()
    ) as vmm:
        try:
            marks = _marks(vmm)
            _expect(marks, "up")
            boot = _Phase(perf_counter() - began, _exits())
            found = {
                _Metric(f"{_TITLE}: exec to user space", "s", _below_qemu): boot.seconds,
                _Metric(f"{_TITLE}: exits until then", "exits", _at_most_qemu): float(boot.exits),
            }
            for depth, count in _READS:
                phase, interrupts = _reading(marks)
                title = f"reads of 4 KiB in it, {depth} at a time"
                reads = depth * count
                found |= {
                    _Metric(title, "µs", _at_most_qemu): phase.seconds / reads * 1e6,
                    _Metric(f"{title}: exits", "per read", _hardly_any): phase.exits / reads,
                    _Metric(f"{title}: interrupts", "1/s", _none): interrupts / phase.seconds,
                }
            return found
        finally:
            vmm.kill()


def _reading(marks: Iterator[str]) -> tuple[_Phase, int]:
    _expect(marks, "begin")
    began, before = perf_counter(), _exits()
    _expect(marks, "end")
    phase = _Phase(perf_counter() - began, _exits() - before)
    word, _, count = next(marks).partition(" ")
    if word != "interrupts":
        raise BenchError(f"the guest said {word!r}, and no number of interrupts")
    return phase, int(count)


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
