# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets of real devices: the function alone, and all that are on its bus."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.uapi.pci_regs import PCI_STATUS, PCI_STATUS_INTERRUPT
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import DeviceError
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice, open_space
from tests.lab.registers import REGISTERS, SIGNALS, read32, write32
from tests.lab.written import written

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX


def group(bdf: str) -> int:
    return int(Path(f"/sys/bus/pci/devices/{bdf}/iommu_group").resolve().name)


def spoil(device: KernelDevice, kind: str) -> None:
    """Change what a reset puts back. It leaves edu's registers alone, but not the line it pulls."""
    if cleared := REGISTERS[kind].cleared:
        offset, value, fresh = cleared
        write32(device, offset, value)
        assert read32(device, offset) == value != fresh
    else:
        SIGNALS[kind](device).fire()
        assert pulls_its_line(device)


def is_fresh(device: KernelDevice, kind: str) -> bool:
    if cleared := REGISTERS[kind].cleared:
        return read32(device, cleared[0]) == cleared[2]
    fresh = not pulls_its_line(device)
    SIGNALS[kind](device).acknowledge()
    return fresh


def pulls_its_line(device: KernelDevice) -> bool:
    status = device.region_read(CONFIG, PCI_STATUS, 2)
    return bool(int.from_bytes(status, "little") & PCI_STATUS_INTERRUPT)


@contextlib.contextmanager
def reset_by_its_bus(device: KernelDevice) -> Iterator[None]:
    """Where the kernel would otherwise power it down and up: QEMU's e1000e does nothing then."""
    methods = Path(HostFunction(device.name).path) / "reset_method"
    with written(methods, "bus"):
        yield


def test_a_reset(device: KernelDevice, kind: str) -> None:
    config = device.region_read(CONFIG, 0, 64)
    assert device.info.resettable
    with reset_by_its_bus(device) if kind == "e1000e" else contextlib.nullcontext():
        spoil(device, kind)
        device.reset()
        assert is_fresh(device, kind)
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


def test_a_hot_reset_of_several(backend: str, neighbours: dict[str, str]) -> None:
    """Two share a bus; where there is an IOMMU they share a group, too, and it counts as ours."""
    with (
        open_space(backend) as space,
        space.open_device(neighbours["edu"]) as device,
        contextlib.ExitStack() as stack,
    ):
        info = device.hot_reset_info()
        assert {function.bdf for function in info.devices} == {*neighbours.values()}
        fds = None
        if len(info.groups) > 1:
            with pytest.raises(DeviceError) as caught:
                device.hot_reset()
            assert all(f"{function.bdf} (group " in str(caught.value) for function in info.devices)
        drive = stack.enter_context(space.open_device(neighbours["nvme"]))
        if len(info.groups) > 1:
            fds = [device.kvm_file, drive.kvm_file]
        config = device.region_read(CONFIG, 0, 64)
        spoil(device, "edu")
        spoil(drive, "nvme")
        device.hot_reset(fds)
        assert is_fresh(device, "edu")
        assert is_fresh(drive, "nvme")
        assert device.region_read(CONFIG, 0, 64) == config
