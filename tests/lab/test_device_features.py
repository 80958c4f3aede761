# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What real kernels have of VFIO_DEVICE_FEATURE, and writes to registers by eventfd."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import DeviceError, EventFd, Interval
from pyvmm.vfio.features import Access, Feature
from pyvmm.vfio.kernel import KernelDevice
from tests.lab.registers import BAR0, REGISTERS, read32, write32

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
PAGE = Interval(0, 0x1000)
PATIENCE = 10.0
LOW_POWER = {
    Feature.LOW_POWER_ENTRY: Access.SET,
    Feature.LOW_POWER_ENTRY_WITH_WAKEUP: Access.SET,
    Feature.LOW_POWER_EXIT: Access.SET,
}


def test_features(device: KernelDevice) -> None:
    supported = device.features.supported()
    assert LOW_POWER.items() <= supported.items()
    with pytest.raises(DeviceError, match="driver made for the device") as caught:
        _ = device.migration
    assert caught.value.errno == errno.ENOTTY
    with pytest.raises(DeviceError, match="driver made for the device"):
        _ = device.dma_logging
    with pytest.raises(DeviceError, match="only SR-IOV physical functions"):
        device.features.set_vf_token(UUID(int=1))
    with pytest.raises(DeviceError, match="bit 2 of the command register"):
        device.features.set_bus_master(True)
    if Feature.DMA_BUF in supported:
        os.close(device.features.dma_buf(BAR0, [PAGE]))
        with pytest.raises(DeviceError, match="whole pages within a BAR"):
            device.features.dma_buf(BAR0, [Interval(0, 0x800)])
        with pytest.raises(DeviceError, match="region 7 is no BAR"):
            device.features.dma_buf(CONFIG, [PAGE])
    else:
        with pytest.raises(DeviceError, match=r"it takes Linux 6\.19"):
            device.features.dma_buf(BAR0, [PAGE])


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline


def test_low_power(device: KernelDevice) -> None:
    status = Path(f"/sys/bus/pci/devices/{device.name}/power/runtime_status")

    def asleep() -> bool:
        return status.read_text() == "suspended\n"

    identity = device.region_read(CONFIG, 0, 4)
    device.features.enter_low_power()
    with pytest.raises(DeviceError, match="it is in low power already"):
        device.features.enter_low_power()
    wait_until(asleep)
    assert device.region_read(CONFIG, 0, 4) == identity
    wait_until(asleep)
    device.features.exit_low_power()
    assert not asleep()
    with EventFd() as wakeup:
        device.features.enter_low_power(wakeup.fileno())
        wait_until(asleep)
        assert not wakeup.pending()
        assert device.region_read(CONFIG, 0, 4) == identity
        assert wakeup.wait(PATIENCE)
        assert not asleep()
        device.features.exit_low_power()
    with open("/dev/null") as null, pytest.raises(DeviceError, match="is no eventfd"):
        device.features.enter_low_power(null.fileno())


def test_a_register_is_written_by_eventfd(device: KernelDevice, kind: str) -> None:
    registers = REGISTERS[kind]
    value = 0x00050006 & registers.scratch_mask
    write32(device, registers.scratch, 0)
    with EventFd() as eventfd:
        device.add_ioeventfd(BAR0, registers.scratch, 4, value, eventfd.fileno())
        with pytest.raises(DeviceError, match="has an eventfd already"):
            device.add_ioeventfd(BAR0, registers.scratch, 4, value, eventfd.fileno())
        eventfd.signal()
        expected = registers.scratch_reads(value)
        wait_until(lambda: read32(device, registers.scratch) == expected)
        device.remove_ioeventfd(BAR0, registers.scratch, 4, value)
        with pytest.raises(DeviceError, match="has no eventfd"):
            device.remove_ioeventfd(BAR0, registers.scratch, 4, value)
        with pytest.raises(DeviceError, match="only registers in BARs"):
            device.add_ioeventfd(CONFIG, 4, 2, 0, eventfd.fileno())
    with open("/dev/null") as null, pytest.raises(DeviceError, match="EINVAL"):
        device.add_ioeventfd(BAR0, registers.scratch, 4, value, null.fileno())
