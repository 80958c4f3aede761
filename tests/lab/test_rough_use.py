# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices used roughly: switched off under a mapping, forked, forgotten, closed in mid-access."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm import vfio
from pyvmm.vfio import DeviceError, DeviceGone
from pyvmm.vfio.host import HostFunction, bind, unbind
from pyvmm.vfio.pci.conventional import PowerManagement
from tests.lab.test_binding import STUB, give_to

pytestmark = pytest.mark.lab

LabDevice = Callable[[str], str]
VERSION = 0x08
"""A register of NVMe's."""


def test_a_mapped_bar_without_memory_space(backend: str, lab_device: LabDevice) -> None:
    """A load would be SIGBUS, and the end of all tests."""
    with vfio.open(lab_device("nvme"), backend=backend) as dev:
        bar = dev.bars[0].map()
        version = bar.u32[VERSION]
        dev.config.memory_enable = False
        with pytest.raises(DeviceError, match="memory space is disabled"):
            bar.u32[VERSION]
        with pytest.raises(DeviceError, match="memory space is disabled"):
            bar.u32[VERSION] = 0
        dev.config.memory_enable = True
        assert bar.u32[VERSION] == version


def test_a_mapped_bar_of_a_device_that_sleeps(lab_device: LabDevice) -> None:
    with vfio.open(lab_device("nvme")) as dev:
        bar = dev.bars[0].map()
        version = bar.u32[VERSION]
        power = dev.config.find(PowerManagement)
        assert power
        power.state = 3
        with pytest.raises(DeviceError):
            bar.u32[VERSION]
        power.state = 0
        dev.config.memory_enable = True
        assert bar.u32[VERSION] == version


def test_a_forked_child_that_unwinds(backend: str, lab_device: LabDevice) -> None:
    with vfio.open(lab_device("nvme"), backend=backend) as dev:
        (irq,) = dev.msix.enable(1)
        with dev.dma.alloc(4096):
            child = os.fork()
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                assert len(dev.dma.mappings) == 1
        if not child:
            dev.close()
            os._exit(0)
        assert dev.config.bus_master
        irq.trigger()
        assert irq.wait(timeout=30) == 1


def test_one_that_was_forgotten(backend: str, lab_device: LabDevice) -> None:
    """In a process of its own: what it does to the DMA space is nobody else's."""
    child = os.fork()
    if not child:
        os._exit(forget(lab_device("nvme"), backend))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def forget(bdf: str, backend: str) -> int:
    """0 if there is a warning of it, and the device is to be had again."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            dev = vfio.open(bdf, backend=backend)
            dev.msix.enable(1)
            buffer, bar = dev.dma.alloc(4096), dev.bars[0].map()
            del dev, buffer, bar
            gc.collect()
            vfio.open(bdf, backend=backend).close()
        assert f"{bdf} was not closed" in "".join(str(warning.message) for warning in said)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def test_closed_in_the_middle_of_accesses(lab_device: LabDevice, tmp_path: Path) -> None:
    """A file that is opened then has the device's number soon, and nothing is written into it."""
    stranger = tmp_path / "stranger"
    stranger.touch()
    for _ in range(3):
        with vfio.open(lab_device("nvme")) as dev:
            writers = [Writer(dev) for _ in range(3)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.under_way.wait()
        fds = [os.open(stranger, os.O_RDWR | os.O_CLOEXEC) for _ in range(50)]
        for writer in writers:
            writer.join()
        for fd in fds:
            os.close(fd)
        for writer in writers:
            # close() takes the command register back first: its BARs answer nobody from then on.
            assert isinstance(writer.end, DeviceGone | DeviceError), writer.end
    assert stranger.read_bytes() == b""


class Writer(threading.Thread):
    """Writes a register until it can't."""

    def __init__(self, dev: vfio.PciDevice) -> None:
        super().__init__(daemon=True)
        self.dev = dev
        self.under_way = threading.Event()
        self.end: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                self.dev.bars[0].u32[0x14] = 0
                self.under_way.set()
        except BaseException as error:
            self.end = error
            self.under_way.set()


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.proof),
        pytest.param(signal.SIGHUP, marks=pytest.mark.proof),
        signal.SIGKILL,
    ],
)
def test_a_bind_that_ends_half_way(lab_device: LabDevice, number: int) -> None:
    function = HostFunction(lab_device("edu"))
    give_to(function, STUB)
    program = (
        "import os, sys; from pyvmm.vfio.host import sysfs; from pyvmm.cli.main import main; "
        "write = sysfs.write\n"
        "def ending(path, text):\n"
        "    write(path, text)\n"
        "    if path.endswith('driver/unbind'): os.kill(os.getpid(), int(sys.argv[1]))\n"
        "sysfs.write = ending\n"
        "sys.exit(main(['bind', sys.argv[2]]))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", program, str(number), function.bdf])
        if number == signal.SIGKILL:
            assert done.returncode == -number
            assert function.driver is None
            unbind([function.bdf])
        else:
            assert done.returncode == 128 + number
        assert (function.driver, function.driver_override) == (STUB, STUB)
    finally:
        give_to(function, "vfio-pci")
    bind([function.bdf])
