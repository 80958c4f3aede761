# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a test must leave as it was: open files, mappings, pinned memory, devices' drivers.

It is looked at after each test of hundreds, where Python is slow: so nothing is parsed, and what
was there after one test counts as what was there before the next.
"""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

from tests.conftest import open_fds

_PINNED = re.compile(rb"Vm(?:Lck|Pin):.*")
_MAPPED = re.compile(rb"anon_inode:.*|/dev/vfio.*|/memfd:.*")
_DRIVERS = Path("/sys/bus/pci/drivers")


class Watch:
    """One process's; differences() tells what has changed since it was asked last."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # what is there to stay need not be looked through each time
        self._last = _state()

    def differences(self) -> list[str]:
        gc.collect()
        before, self._last = self._last, _state()
        return [
            f"{name}: {before[name]} before, {self._last[name]} after"
            for name in before
            if before[name] != self._last[name]
        ]


def _state() -> dict[str, object]:
    devices = (device.partition("=")[2] for device in os.environ["PYVMM_LAB_DEVICES"].split(","))
    return {
        "files": sorted(open_fds().values()),
        "mapped": _MAPPED.findall(Path("/proc/self/maps").read_bytes()),
        "pinned": _PINNED.findall(Path("/proc/self/status").read_bytes()),
        "drivers": [device for device in devices if not (_DRIVERS / "vfio-pci" / device).exists()],
    }
