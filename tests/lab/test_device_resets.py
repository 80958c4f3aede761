# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets of real devices: the function alone, and all that are on its bus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import DeviceError
from pyvmm.vfio.kernel import KernelDevice, open_device
from tests.lab.registers import REGISTERS, read32, write32

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX


def group(bdf: str) -> int:
    return int(Path(f"/sys/bus/pci/devices/{bdf}/iommu_group").resolve().name)


def spoil(device: KernelDevice, kind: str) -> None:
    """Change a register that a reset clears, if there is one."""
    if cleared := REGISTERS[kind].cleared:
        offset, value, fresh = cleared
        write32(device, offset, value)
        assert read32(device, offset) == value != fresh


def is_fresh(device: KernelDevice, kind: str) -> bool:
    cleared = REGISTERS[kind].cleared
    return cleared is None or read32(device, cleared[0]) == cleared[2]


def test_a_reset(device: KernelDevice, kind: str) -> None:
    config = device.region_read(CONFIG, 0, 64)
    assert device.info.resettable
    spoil(device, kind)
    device.reset()
    assert is_fresh(device, kind) or not REGISTERS[kind].function_reset
    assert device.region_read(CONFIG, 0, 64) == config


def test_a_hot_reset(device: KernelDevice, kind: str, backend: str) -> None:
    config = device.region_read(CONFIG, 0, 64)
    info = device.hot_reset_info()
    assert [function.bdf for function in info.devices] == [device.name]
    assert info.by_devid == info.owned == (backend == "iommufd")
    assert info.groups == (frozenset() if info.by_devid else {group(device.name)})
    wrong = [device.kvm_file] if info.by_devid else []
    with pytest.raises(DeviceError, match="VFIO_DEVICE_PCI_HOT_RESET: EINVAL") as caught:
        device.hot_reset(wrong)
    assert ("without group fds" if info.by_devid else "(group ") in str(caught.value)
    spoil(device, kind)
    device.hot_reset()
    assert is_fresh(device, kind)
    assert device.region_read(CONFIG, 0, 64) == config


def test_a_hot_reset_of_several(
    backend: str, lab_device: Callable[[str], str], lab_devices: Callable[[str], list[str]]
) -> None:
    """Two share a bus; where there is an IOMMU they share a group, too, and it counts as ours."""
    bdf = next(bdf for bdf in lab_devices("edu") if bdf != lab_device("edu"))
    with open_device(bdf, backend=backend) as device, contextlib.ExitStack() as stack:
        info = device.hot_reset_info()
        bdfs = {function.bdf for function in info.devices}
        assert bdf in bdfs
        assert bdfs <= {*lab_devices("edu"), *lab_devices("nvme")}
        assert len(bdfs) == 2
        fds = None
        if len(info.groups) > 1:
            with pytest.raises(DeviceError) as caught:
                device.hot_reset()
            assert all(f"{function.bdf} (group " in str(caught.value) for function in info.devices)
            (other,) = bdfs - {bdf}
            neighbour = stack.enter_context(open_device(other, backend=backend))
            fds = [device.kvm_file, neighbour.kvm_file]
        config = device.region_read(CONFIG, 0, 64)
        device.hot_reset(fds)
        assert device.region_read(CONFIG, 0, 64) == config
