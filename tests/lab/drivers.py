# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices with other drivers than vfio-pci, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pyvmm.vfio.host import HostFunction

_PATIENCE = 60.0
"""Seconds that a driver has, on a machine that is busy."""


@contextlib.contextmanager
def given_to(bdf: str, driver: str) -> Iterator[None]:
    """A device with another driver, for a while."""
    if not os.path.exists(f"/sys/bus/pci/drivers/{driver}"):
        subprocess.run(["/run/pyvmm-lab/busybox", "modprobe", driver], check=True)
    try:
        give(bdf, driver)
        yield
    finally:
        give(bdf, "vfio-pci")


def give(bdf: str, driver: str) -> None:
    device = Path("/sys/bus/pci/devices") / bdf
    (device / "driver_override").write_text(driver)
    (device / "driver/unbind").write_text(bdf)
    Path("/sys/bus/pci/drivers_probe").write_text(bdf)
    assert HostFunction(bdf).driver == driver
    if driver == "nvme":
        _wait_for_nvme(device)


def _wait_for_nvme(device: Path) -> None:
    """Before Linux 6.3 its driver has the device, and then goes on to set it up."""
    end = time.monotonic() + _PATIENCE
    states: list[str] = []
    while states != ["live"]:
        assert time.monotonic() < end, states
        time.sleep(0.05)
        states = [path.read_text().strip() for path in device.glob("nvme/nvme*/state")]
