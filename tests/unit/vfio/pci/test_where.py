# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""open(): what is an address, what a socket, and what goes with which."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm import vfio
from pyvmm.models import testdev
from pyvmm.vfio import DeviceGone, HostDeviceUnavailable, VfioError
from pyvmm.vfio.user import Server

LIMIT = 30


def test_what_is_neither_address_nor_socket() -> None:
    with pytest.raises(DeviceGone) as caught:
        vfio.open("nvme0")
    assert str(caught.value) == (
        "opening nvme0: it is neither a PCI address such as 0000:01:00.0 nor a socket"
    )


@pytest.mark.parametrize("where", ["/a\0b", b"/a\0b", "/" + "a" * 5000])
def test_what_is_no_path(where: str | bytes, no_leaks: None) -> None:
    with pytest.raises(DeviceGone):
        vfio.open(where)


def test_what_goes_with_which() -> None:
    with pytest.raises(VfioError, match="are for devices of the host only"):
        vfio.open("/tmp/socket", backend="type1v2")
    with pytest.raises(VfioError, match="timeout is for vfio-user servers only"):
        vfio.open("0000:01:00.0", timeout=1)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(HostDeviceUnavailable):
        vfio.open("ffff:ff:1f.7")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a testdev is served."""
    path = tmp_path / "testdev.sock"
    with testdev.TestDevice() as model, Server.listen(model, str(path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.stop()
        thread.join(LIMIT)


def test_a_socket(path: Path, no_leaks: None) -> None:
    with vfio.open(os.fsencode(path)) as dev:
        assert dev.config.device_id == 0x7E57
        bar = dev.bars[0].map()
        bar.u32[0x4000] = 5
        assert dev.bars[0].u32[0x4000] == 5
        irqs = dev.msix.enable(2)
        bar.u32[0x10] = 1
        assert irqs[1].wait(LIMIT) == 1
        del bar


def test_a_server_that_dies_wakes_who_waits(tmp_path: Path) -> None:
    path = str(tmp_path / "testdev.sock")
    command = [sys.executable, "-m", "pyvmm", "serve", "testdev", "--socket", path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        assert "is served" in server.stderr.readline()
        with vfio.open(path) as dev:
            (irq,) = dev.msix.enable()
            killer = threading.Timer(0.1, server.kill)
            killer.start()
            with pytest.raises(DeviceGone, match="the device has gone"):
                irq.wait(LIMIT)
            killer.join(LIMIT)
