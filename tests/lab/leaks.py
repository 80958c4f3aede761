# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a test must leave as it was: open files, mappings, pinned memory, devices, limits.

It is looked at after each test of hundreds, where Python is slow: so nothing is parsed, and what
was there after one test counts as what was there before the next.
"""

from __future__ import annotations

import gc
import os
import re
import threading
from pathlib import Path

from tests.conftest import open_fds

_PINNED = re.compile(rb"Vm(?:Lck|Pin):.*")
_MAPPED = re.compile(rb"anon_inode:.*|/dev/vfio.*|/memfd:.*")
_DEVICES = "/sys/bus/pci/devices"
_BOUND = "/sys/bus/pci/drivers/vfio-pci"
_COMMAND, _BUS_MASTER = 4, 1 << 2
_LIMITS = (
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
    "/sys/module/vfio_pci/parameters/enable_sriov",
)


class Watch:
    """One process's; differences() tells what has changed since it was asked last."""

    def __init__(self) -> None:
        devices = os.environ["PYVMM_LAB_DEVICES"].split(",")
        self._devices = [device.partition("=")[2] for device in devices]
        gc.collect()
        gc.freeze()  # what is there to stay need not be looked through each time
        self._last = self._state()

    def differences(self) -> list[str]:
        gc.collect()
        before, self._last = self._last, self._state()
        return [
            f"{name}: {before[name]} before, {self._last[name]} after"
            for name in before
            if before[name] not in (self._last[name], _with_dma(self._last[name]))
        ]

    def _state(self) -> dict[str, object]:
        return {
            "files": sorted(open_fds().values()),
            "mapped": _MAPPED.findall(Path("/proc/self/maps").read_bytes()),
            "pinned": _PINNED.findall(Path("/proc/self/status").read_bytes()),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "child processes": _has_children(),
            "limits": [_read(path) for path in _LIMITS],
            **{device: _device(device) for device in self._devices},
        }


def _device(bdf: str) -> tuple[bool, bytes, int]:
    """Whether it is vfio-pci's, its driver_override, and whether it may do DMA."""
    folder = f"{_DEVICES}/{bdf}"
    return (
        os.path.exists(f"{_BOUND}/{bdf}"),
        _read(f"{folder}/driver_override"),
        _read(f"{folder}/config", _COMMAND, 1)[0] & _BUS_MASTER,
    )


def _with_dma(state: object) -> object:
    """What a device's state may have been before: that it can do no DMA any more hurts nobody."""
    return (*state[:2], _BUS_MASTER) if isinstance(state, tuple) else state


def _read(path: str, offset: int = 0, size: int = 64) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
