# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Groups, cdevs and their ends: who has a device, what is told to others, when it is let go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pyvmm.kvm import System
from pyvmm.kvm.vfio_device import VfioDevice
from pyvmm.vfio import DeviceError, HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, IommuGroup, holders
from pyvmm.vfio.kernel import (
    Container,
    Ioas,
    KernelDevice,
    backends,
    open_device,
    open_space,
    opening,
)
from tests.lab.drivers import given_to
from tests.lab.engines import copy
from tests.lab.nobody import NOBODY, as_nobody
from tests.lab.profiles import BY_NAME, TRANSLATED

GetDevice = Callable[[str], str]
GetDevices = Callable[[str], list[str]]

# Without an IOMMU each device is its own group.
TWO_IN_A_GROUP = pytest.mark.backends(*TRANSLATED)


@pytest.fixture
def pair(backend: str, lab_devices: GetDevices) -> tuple[str, str]:
    """Two devices of one group."""
    found = [bdf for kind in ("nvme", "edu") for bdf in lab_devices(kind)]
    groups = [HostFunction(bdf).group for bdf in found]
    one, other = (bdf for bdf, group in zip(found, groups, strict=True) if groups.count(group) > 1)
    return one, other


def node(bdf: str, backend: str) -> str:
    """The file that holds the device for its user."""
    function = HostFunction(bdf)
    return (function.vfio_cdev if backend == "iommufd" else None) or IommuGroup.of(
        function
    ).device_path


@pytest.mark.smoke
def test_back_ends(profile: str, backend: str) -> None:
    there = {name for name, missing in backends() if not missing}
    assert there == set(BY_NAME[profile].backends)
    assert all(missing for name, missing in backends() if name not in there)


@pytest.mark.smoke
def test_the_best_is_chosen(profile: str, backend: str, lab_device: GetDevice) -> None:
    best = "iommufd" if "iommufd" in BY_NAME[profile].backends else BY_NAME[profile].backends[0]
    with open_device(lab_device("edu")) as device, open_space() as space:
        assert device.dma.backend == best  # type: ignore[attr-defined]
        assert space.backend == best


@pytest.mark.every_kernel
def test_the_best_of_what_may_be_opened(profile: str, lab_device: GetDevice) -> None:
    """Somebody who was given the group's file, and neither the cdev nor /dev/iommu."""
    bdf = lab_device("edu")

    def backend() -> str:
        with open_device(bdf) as device:
            return str(device.dma.backend)  # type: ignore[attr-defined]

    group = IommuGroup.of(HostFunction(bdf)).device_path
    os.chown(group, NOBODY, -1)
    try:
        found = as_nobody(backend)
    finally:
        os.chown(group, 0, -1)
    if BY_NAME[profile].iommu == "none":
        assert "takes CAP_SYS_RAWIO: run as root" in found
    else:
        assert found == "type1v2"


@TWO_IN_A_GROUP
def test_devices_of_a_group_share_it(backend: str, pair: tuple[str, str]) -> None:
    with open_space(backend) as space:
        first, second = (space.open_device(bdf) for bdf in pair)
        if isinstance(space, Container):
            assert first.kvm_file == second.kvm_file
        first.close()
        assert [h.pid for h in holders(node(pair[1], backend))] == [os.getpid()]
        second.close()
        assert holders(node(pair[1], backend)) == ()


@TWO_IN_A_GROUP
def test_a_group_in_use_is_not_to_be_had_twice(backend: str, pair: tuple[str, str]) -> None:
    with (
        open_device(pair[0], backend=backend),
        pytest.raises(HostDeviceUnavailable, match=r"process|another user"),
    ):
        open_device(pair[1], backend=backend)


def test_a_space_goes_after_its_devices(backend: str, lab_device: GetDevice) -> None:
    bdf = lab_device("edu")
    space = open_space(backend)
    device = space.open_device(bdf)
    if backend == "noiommu":
        space.close()
    else:
        with space.alloc(64) as buffer:
            space.close()
            buffer.view[:5] = b"still"
            copy(device, buffer.iova, buffer.iova + 32, 5)
            assert bytes(buffer.view[32:37]) == b"still"
    with pytest.raises(DeviceError, match="its DMA space is closed"):
        space.open_device(bdf)
    device.close()
    open_device(bdf, backend=backend).close()


# Who has it.


@pytest.fixture
def holder() -> Iterator[Callable[[str, float], int]]:
    """holder(path, seconds) has another process hold a file; its process ID."""
    processes = []

    def hold(path: str, seconds: float) -> int:
        fd = os.open(path, os.O_RDWR)
        process = subprocess.Popen(["sleep", str(seconds)], pass_fds=[fd])
        os.close(fd)
        processes.append(process)
        return process.pid

    yield hold
    for process in processes:
        process.kill()
        process.wait()


def test_who_holds_a_group(
    backend: str, lab_device: GetDevice, holder: Callable[[str, float], int]
) -> None:
    bdf = lab_device("edu")
    group = IommuGroup.of(HostFunction(bdf)).device_path
    pid = holder(group, 60)
    with pytest.raises(
        HostDeviceUnavailable, match=rf"EBUSY.*{group} is open in sleep \(process {pid} of root\)"
    ):
        open_device(bdf, backend=backend)


def test_a_group_that_is_let_go_in_a_moment(
    backend: str,
    lab_device: GetDevice,
    holder: Callable[[str, float], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bdf = lab_device("edu")
    # A machine that has other things to do takes long for 0.3 seconds.
    monkeypatch.setattr(opening, "_PATIENCE", 60.0)
    holder(IommuGroup.of(HostFunction(bdf)).device_path, 0.3)
    open_device(bdf, backend=backend).close()


@TWO_IN_A_GROUP
def test_who_spoils_a_group(backend: str, pair: tuple[str, str]) -> None:
    ours, spoiler = sorted(pair, key=lambda bdf: HostFunction(bdf).vendor == 0x1B36)
    with (
        given_to(spoiler, "nvme"),
        pytest.raises(
            HostDeviceUnavailable,
            match=rf"group \d+ is not viable: {spoiler} is bound to nvme; .*`pyvmm bind {spoiler}`",
        ),
    ):
        open_device(ours, backend=backend)
    open_device(ours, backend=backend).close()


# cdevs.


@pytest.mark.backends("iommufd")
def test_a_passed_fd(backend: str, lab_device: GetDevice) -> None:
    bdf = lab_device("edu")
    path = HostFunction(bdf).vfio_cdev
    assert path is not None
    fd = os.open(path, os.O_RDWR)
    with Ioas() as space, space.open_fd(fd) as device, space.alloc(64) as buffer:
        os.close(fd)
        assert device.name == bdf
        buffer.view[:4] = b"sent"
        copy(device, buffer.iova, buffer.iova + 32, 4)
        assert bytes(buffer.view[32:36]) == b"sent"
        with pytest.raises(HostDeviceUnavailable, match=rf"bound already: {path} is open in"):
            open_device(bdf)
    with pytest.raises(HostDeviceUnavailable, match=f"fd {fd} is not open"):
        open_device(fd=fd)
    with (
        open("/dev/null") as null,
        pytest.raises(HostDeviceUnavailable, match="is no VFIO device"),
    ):
        open_device(fd=null.fileno())


# KVM.


@pytest.fixture
def device(backend: str, lab_device: GetDevice) -> Iterator[KernelDevice]:
    with open_device(lab_device("edu"), backend=backend) as device:
        yield device


def test_kvm_is_told(device: KernelDevice, backend: str) -> None:
    with System() as system, system.create_vm() as vm, VfioDevice(vm.fd) as vfio:
        vfio.add(device.kvm_file, device.name)
        vfio.remove(device.kvm_file, device.name)
        vfio.add(device.kvm_file, device.name)
        vfio.remove(device.kvm_file, device.name)
