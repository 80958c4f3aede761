# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How many reads a second an NVMe drive does: by the example's driver, and by the kernel's.

Two drives of a kind: one stays vfio-pci's, the kernel's own driver gets the other. So they can
take turns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, perf_counter, sleep

from examples.nvme import READ, Nvme
from pyvmm import vfio
from pyvmm.vfio import host

from ..build import program
from ..errors import BenchError
from ..measure import Row, take_turns
from ..settings import Settings
from ..vmms import PYVMM
from .contenders import KERNEL, run

_BUSYBOX = "/run/pyvmm-lab/busybox"
_SIZE = 4096
_DEPTHS = (1, 32)
_OURS, _THEIRS = 150, 2500
"""Reads in a turn, times their depth: what each driver does in half a second or so."""

_PATIENCE = 20.0


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """One for each depth; devices are two equal drives that vfio-pci has."""
    ours, theirs = devices
    disk = _given_to_kernel(theirs)
    for depth in _DEPTHS:
        with vfio.open(ours) as dev:
            samples = _samples(Nvme(dev, depth), disk, depth, settings)
        yield Row(f"NVMe reads of 4 KiB at random, {depth} at a time", "IOPS", samples)


def _samples(drive: Nvme, disk: str, depth: int, settings: Settings) -> dict[str, list[float]]:
    blocks = drive.blocks * drive.block_size // _SIZE
    command = [str(program("read_disk")), disk, str(blocks), str(_THEIRS * depth), str(depth)]
    with drive.dev.dma.alloc(depth * _SIZE) as buffer:
        contenders = {
            PYVMM: lambda: _read(drive, buffer.iova, blocks, depth),
            KERNEL: lambda: _THEIRS * depth / int(run(command)) * 1e9,
        }
        return take_turns(contenders, settings.rounds(7), settings.seconds(15))


def _read(drive: Nvme, iova: int, blocks: int, depth: int) -> float:
    """Reads a second by the example's driver. What to read is chosen before."""
    each = _SIZE // drive.block_size
    commands = [
        (READ, 1, iova + i % depth * _SIZE, _SIZE, random.randrange(blocks) * each, 0, each - 1)
        for i in range(_OURS * depth)
    ]
    start = perf_counter()
    drive.io.run(commands)
    return len(commands) / (perf_counter() - start)


def _given_to_kernel(bdf: str) -> str:
    """Give a drive to the kernel's own driver; returns its block device."""
    run([_BUSYBOX, "modprobe", "nvme"])
    host.unbind([bdf])
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline:
        for disk in Path("/dev").glob("nvme*n1"):  # no other drive is the kernel's
            return str(disk)
        sleep(0.05)
    raise BenchError(f"the kernel's driver finds no disk in {bdf}")
