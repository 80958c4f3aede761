# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA spaces of groups: devices come and go, mappings stay, everything ends in order."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, HostDeviceUnavailable, Interval, VfioError
from pyvmm.vfio.kernel import (
    Container,
    Ioas,
    KernelSpace,
    backends,
    open_device,
    open_space,
)
from tests.unit.vfio.kernel.made_spaces import ADDRESS, ALL, DISK, NIC, NIC2, PAGE
from tests.unit.vfio.kernel.made_vfio import MSI, MadeVfio


def test_a_group_goes_with_its_last_device(container: Container, made: MadeVfio) -> None:
    first = container.open_device(NIC)
    second = container.open_device(NIC2)
    assert first.kvm_file == second.kvm_file == container.group_fds[14]
    disk = container.open_device(DISK)
    assert list(container.group_fds) == [14, 15]
    assert made.log.count("VFIO_SET_IOMMU") == 1
    first.close()
    assert made.open_files("dev/vfio/14") == 1
    second.close()
    second.close()
    assert list(container.group_fds) == [15]
    assert made.open_files("dev/vfio/14") == 0
    assert list(made.container_of) == [15]
    disk.close()
    assert made.container_of == {}
    assert made.open_files("dev/vfio/vfio") == 1


@pytest.mark.parametrize("backend", ALL)
def test_a_space_goes_after_its_devices(made: MadeVfio, backend: str) -> None:
    space = open_space(backend, root=made.root)
    device = space.open_device(NIC)
    buffer = space.alloc(PAGE)
    space.close()
    assert list(made.mapped) == [Interval(PAGE, 2 * PAGE)]
    with pytest.raises(DeviceError, match=r"EBADF.*DMA space is closed"):
        open_device(DISK, space=space)
    device.close()
    assert made.mapped == {}
    assert not made.open_files("dev/vfio/vfio")
    assert not made.open_files("dev/iommu")
    buffer.close()


@pytest.mark.parametrize(
    ("backend", "call"),
    [
        ("type1v2", "VFIO_GROUP_GET_STATUS"),
        ("type1v2", "VFIO_GROUP_SET_CONTAINER"),
        ("type1v2", "VFIO_SET_IOMMU"),
        ("type1v2", "VFIO_IOMMU_MAP_DMA"),
        ("iommufd-compat", "VFIO_IOMMU_MAP_DMA"),
        ("type1v2", "VFIO_GROUP_GET_DEVICE_FD"),
        ("type1v2", "VFIO_DEVICE_GET_INFO"),
        ("iommufd", "VFIO_DEVICE_BIND_IOMMUFD"),
        ("iommufd", "IOMMU_GET_HW_INFO"),
        ("iommufd", "VFIO_DEVICE_ATTACH_IOMMUFD_PT"),
        ("iommufd", "VFIO_DEVICE_GET_INFO"),
    ],
)
def test_half_a_set_up_is_taken_back(made: MadeVfio, backend: str, call: str) -> None:
    with open_space(backend, root=made.root) as space:
        space.map(0x10000, PAGE, address=ADDRESS)
        space.map(0x20000, PAGE, address=ADDRESS)
        made.failures[call] = errno.EIO
        with pytest.raises((DeviceError, HostDeviceUnavailable), match=f"{call}: EIO"):
            space.open_device(NIC)
        assert made.devices_open == []
        assert made.container_of == {}
        assert not made.open_files("dev/vfio/14")
        assert not made.open_files("dev/vfio/devices/vfio10")
        if backend == "type1v2":
            assert made.mapped == {}
        with space.open_device(NIC):
            assert len(made.mapped) == 2


def test_a_group_that_is_not_viable(container: Container, made: MadeVfio) -> None:
    made.host.function("0000:01:00.2", driver="snd_hda_intel", group=14)
    made.unviable.add(14)
    with pytest.raises(
        HostDeviceUnavailable,
        match=r"group 14 is not viable: 0000:01:00.2 is bound to snd_hda_intel; .*`pyvmm bind",
    ):
        container.open_device(NIC)
    assert not made.open_files("dev/vfio/14")


def test_a_group_that_has_its_container_is_viable(container: Container, made: MadeVfio) -> None:
    made.unviable.add(14)
    made.status_has_container = True
    container.open_device(NIC).close()


def test_a_group_somebody_else_uses(container: Container, made: MadeVfio) -> None:
    made.failures["VFIO_GROUP_SET_CONTAINER"] = errno.EPERM
    with pytest.raises(HostDeviceUnavailable, match="not viable: another user has one"):
        container.open_device(NIC)


def test_a_group_that_is_busy_is_tried_again(
    container: Container, made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{made.root}/dev/vfio/14"
    busy = iter([errno.EBUSY, errno.EBUSY])
    really_open = os.open

    def open_busy(target: str, flags: int) -> int:
        number = next(busy, 0) if target == path else 0
        if number:
            raise OSError(number, os.strerror(number))
        return really_open(target, flags)

    monkeypatch.setattr(os, "open", open_busy)
    container.open_device(NIC).close()
    busy = iter(lambda: errno.EBUSY, 0)
    made.host.process(4711, "qemu", "/dev/vfio/14")
    with pytest.raises(HostDeviceUnavailable, match=r"group 14: .*EBUSY.*qemu \(process 4711"):
        container.open_device(NIC)


def test_files_that_are_not_there(made: MadeVfio) -> None:
    os.unlink(f"{made.root}/dev/vfio/14")
    with (
        Container(root=made.root) as container,
        pytest.raises(HostDeviceUnavailable, match=r"group 14: .*ENOENT.*`pyvmm bind`"),
    ):
        container.open_device(NIC)
    os.unlink(f"{made.root}/dev/vfio/vfio")
    os.unlink(f"{made.root}/dev/iommu")
    with pytest.raises(HostDeviceUnavailable, match="modprobe vfio-pci"):
        Container(root=made.root)
    with pytest.raises(HostDeviceUnavailable, match="CONFIG_IOMMUFD"):
        Ioas(root=made.root)
    with pytest.raises(HostDeviceUnavailable, match=r"no DMA space:\n  iommufd: .*\n  type1v2: "):
        open_space(root=made.root)
    missing = dict(backends(root=made.root))
    assert all(missing.values())
    assert "the kernel has no VFIO here" in missing["type1v2"]
    assert "CONFIG_IOMMUFD" in missing["iommufd-compat"]


EPERM = {
    "type1v2": ("VFIO_SET_IOMMU", "vfio_iommu_type1"),
    "iommufd-compat": ("VFIO_GROUP_GET_DEVICE_FD", "iommufd"),
    "iommufd": ("VFIO_DEVICE_BIND_IOMMUFD", "iommufd"),
}


@pytest.fixture(params=EPERM)
def refused(request: pytest.FixtureRequest, made: MadeVfio) -> Iterator[Callable[[], str]]:
    """What is said of a device with which the back end's call fails with EPERM."""
    backend = request.param
    with open_space(backend, root=made.root) as space:

        def refuse() -> str:
            made.refusals[EPERM[backend][0]] = errno.EPERM
            with pytest.raises(HostDeviceUnavailable) as caught:
                space.open_device(NIC)
            assert made.devices_open == []
            assert not made.open_files("dev/vfio/14")
            # The module that is to be told, instead of the back end's own.
            return str(caught.value).replace(EPERM[backend][1], "MODULE")

        yield refuse


def test_interrupts_that_are_not_remapped(
    refused: Callable[[], str], made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    cure = "`echo 1 | sudo tee /sys/module/MODULE/parameters/allow_unsafe_interrupts`"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said = refused()
    assert "EPERM (Operation not permitted); interrupts of this host are not remapped" in said
    assert said.endswith(cure)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "; another user has a device of group 14, or interrupts of this host" in refused()
    for module in ("vfio_iommu_type1", "iommufd"):
        made.host.file(f"sys/module/{module}/parameters/allow_unsafe_interrupts", "Y\n")
    assert refused().endswith("; another user has a device of group 14")


def test_a_group_that_the_firmware_keeps(refused: Callable[[], str], made: MadeVfio) -> None:
    made.host.file(
        "sys/kernel/iommu_groups/14/reserved_regions",
        "0x000000007c000000 0x000000007dffffff direct\n",
    )
    assert refused().startswith(
        "the firmware itself does DMA with group 14 (reserved memory, RMRR, at IOVA [0x7c000000, "
    )


def test_a_group_of_which_we_have_one_elsewhere(made: MadeVfio) -> None:
    cdevs = "/dev/vfio/devices/vfio10", "/dev/vfio/devices/vfio11"
    made.host.process(os.getpid(), "python3", *cdevs)
    made.refusals["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EPERM
    with pytest.raises(HostDeviceUnavailable, match="vfio11 is open in this process"):
        open_device(NIC, backend="iommufd", root=made.root)


@pytest.mark.parametrize("backend", ["iommufd", "iommufd-compat"])
def test_a_group_whose_last_user_is_just_ending(made: MadeVfio, backend: str) -> None:
    """Killed, it has no files that could be seen any more, and the group still for a moment."""
    with open_space(backend, root=made.root) as space:
        made.failures[EPERM[backend][0]] = errno.EPERM
        space.open_device(NIC).close()


def test_a_group_whose_neighbour_is_in_use(refused: Callable[[], str], made: MadeVfio) -> None:
    made.host.process(4711, "qemu", "/dev/vfio/devices/vfio11")
    assert refused().startswith("group 14 is in use: ")
    assert "vfio11 is open in qemu (process 4711 of" in refused()


def test_no_type1(made: MadeVfio) -> None:
    made.extensions.clear()
    with pytest.raises(HostDeviceUnavailable, match="modprobe vfio_iommu_type1"):
        Container(root=made.root)


@pytest.mark.parametrize("backend", ALL)
def test_a_group_whose_reserved_iovas_are_mapped(made: MadeVfio, backend: str) -> None:
    with open_space(backend, root=made.root) as space:
        space.map(MSI.start, PAGE, address=ADDRESS)
        with pytest.raises(
            HostDeviceUnavailable,
            match=r"the MSI window of group 14, and \[0xfee00000, 0xfee01000\) is mapped; unmap it",
        ):
            space.open_device(NIC)


def test_a_vf_token(container: Container, made: MadeVfio) -> None:
    token = UUID("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")
    container.open_device(NIC, vf_token=token).close()
    assert made.token == f" vf_token={token}"
    container.open_device(NIC, vf_token=str(token)).close()
    assert made.token == f" vf_token={token}"
    made.failures["VFIO_GROUP_GET_DEVICE_FD"] = errno.EACCES
    with pytest.raises(HostDeviceUnavailable, match="give the VF token"):
        container.open_device(NIC)


@pytest.mark.parametrize(
    ("backend", "call"),
    [
        ("iommufd-compat", "VFIO_GROUP_GET_DEVICE_FD"),
        ("iommufd", "VFIO_DEVICE_ATTACH_IOMMUFD_PT"),
    ],
)
def test_a_device_that_does_not_reach_what_is_mapped(
    backend: str, call: str, made: MadeVfio
) -> None:
    with open_space(backend, root=made.root) as space:
        made.failures[call] = errno.EADDRINUSE
        with pytest.raises(VfioError, match="that its IOMMU doesn't reach"):
            space.open_device(NIC)
        space.open_device(NIC).close()


def test_a_vf_token_that_is_none(space: KernelSpace) -> None:
    with pytest.raises(HostDeviceUnavailable, match="the VF token 'x' is no UUID; write it like"):
        space.open_device(NIC, vf_token="x")


def test_a_kernel_without_unmap_all(made: MadeVfio) -> None:
    made.extensions.remove(vfio.VFIO_UNMAP_ALL)
    with Container(root=made.root) as container, container.open_device(NIC):
        container.map(0x10000, PAGE, address=ADDRESS)
        container.map(0x20000, PAGE, address=ADDRESS)
        container.unmap_all()
        assert made.mapped == {}


def test_the_compat_container_keeps_its_mappings(made: MadeVfio) -> None:
    with Container("iommufd-compat", root=made.root) as container:
        container.map(0x10000, PAGE, address=ADDRESS)
        container.open_device(NIC).close()
        assert len(made.mapped) == 1
        container.open_device(NIC).close()
        assert made.log.count("VFIO_IOMMU_MAP_DMA") == 1


def test_dirty_pages_of_type1(container: Container) -> None:
    assert container.dirty is None
    with container.open_device(NIC):
        container.map(0x10000, 4 * PAGE, address=ADDRESS)
        tracking = container.dirty
        assert tracking is not None
        assert tracking.page_size == PAGE
        with pytest.raises(DeviceError, match="has to be started"):
            tracking.report(Interval(0x10000, 0x14000))
        tracking.start()
        assert tracking.report(Interval(0x10000, 0x14000)) == (
            Interval(0x10000, 0x11000),
            Interval(0x12000, 0x13000),
        )
        with pytest.raises(DeviceError, match="begin and end where mappings do"):
            tracking.report(Interval(0x10000, 0x12000))
        tracking.stop()
