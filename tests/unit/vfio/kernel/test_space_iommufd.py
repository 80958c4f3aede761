# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA spaces of iommufd: cdevs, page tables, ranges."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any
from uuid import UUID

import pytest

from pyvmm.uapi import iommufd
from pyvmm.vfio import DeviceError, HostDeviceUnavailable, Interval
from pyvmm.vfio.kernel import (
    Ioas,
    Iommufd,
    KernelSpace,
    open_device,
)
from tests.unit.vfio.fakes import PATIENCE
from tests.unit.vfio.kernel.made_spaces import ADDRESS, DISK, NIC, NIC2, PAGE
from tests.unit.vfio.kernel.made_vfio import APERTURE, MadeVfio


def test_a_device_by_its_cdev(ioas: Ioas, made: MadeVfio) -> None:
    cdev = "dev/vfio/devices/vfio10"
    with ioas.open_device(NIC) as device:
        assert made.attached == {cdev: ioas.id}
        assert made.open_files(cdev) == 1
        assert device.kvm_file >= 0
        assert device.name == NIC
        with pytest.raises(HostDeviceUnavailable, match=r"bound already: .*vfio10 is open in"):
            ioas.open_device(NIC)
    assert made.open_files(cdev) == 0
    ioas.open_device(NIC).close()


def test_a_refused_vf_token_is_not_tried_again(ioas: Ioas, made: MadeVfio) -> None:
    bind = "VFIO_DEVICE_BIND_IOMMUFD"
    token = UUID(int=1)
    made.failures[bind] = errno.EINVAL
    with pytest.raises(HostDeviceUnavailable, match="a VF token is for virtual functions"):
        ioas.open_device(NIC, vf_token=token)
    made.host.process(4711, "qemu", "/dev/vfio/devices/vfio10")
    made.failures[bind] = errno.EINVAL
    ioas.open_device(NIC, vf_token=token).close()  # unless somebody else has the device


def test_cdevs_that_take_no_vf_token(ioas: Ioas, made: MadeVfio) -> None:
    """A virtual function's, before Linux 6.17."""
    function = made.host.root / "sys/bus/pci/devices" / NIC2
    (function / "physfn").symlink_to(f"../{NIC}")
    made.failures["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EINVAL
    ioas.open_device(NIC2, vf_token=UUID(int=1)).close()
    made.failures["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EACCES
    with pytest.raises(HostDeviceUnavailable, match="its VF token is another one"):
        ioas.open_device(NIC2, vf_token=UUID(int=1))


def test_nobody_who_maps_waits_for_a_device_that_is_held(
    ioas: Ioas, made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = []

    def sleep(seconds: float) -> None:
        mapping = threading.Thread(target=ioas.map, args=(0x10000, PAGE), kwargs={"address": PAGE})
        mapping.start()
        mapping.join(PATIENCE)
        mapped.append(ioas.mappings)

    monkeypatch.setattr("pyvmm.vfio.kernel.opening.time.sleep", sleep)
    made.failures["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EBUSY
    ioas.open_device(NIC).close()
    assert mapped == [(Interval(0x10000, 0x11000),)]


def test_the_ranges_are_asked_for_when_they_change(
    ioas: Ioas, made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    really = made.iommu_ioas_iova_ranges

    def ask(fd: int, path: str, arg: Any) -> None:
        asked.append(arg.num_iovas)
        really(fd, path, arg)

    monkeypatch.setattr(made, "iommu_ioas_iova_ranges", ask)
    with ioas.open_device(NIC):
        for page in range(9):
            ioas.map(page << 12, PAGE, address=ADDRESS)
        assert ioas.iova_ranges()[-1].end == APERTURE
        assert len(asked) == 1
        ioas.allow_iovas(ioas.iova_ranges())
        assert ioas.page_sizes
        assert len(asked) == 2
    assert ioas.iova_ranges()[-1].end != APERTURE, "the aperture went with the device"


def test_what_went_wrong_first_counts(
    space: KernelSpace, made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_proc(*_: object) -> None:
        raise OSError(errno.EMFILE, "no descriptor to look for the cause with")

    monkeypatch.setattr("pyvmm.vfio.kernel.map_errors._area", no_proc)
    name = "IOMMU_IOAS_MAP" if space.backend == "iommufd" else "VFIO_IOMMU_MAP_DMA"
    with space.open_device(NIC):
        made.failures[name] = errno.EFAULT
        with pytest.raises(DeviceError) as caught:
            space.map(0x10000, PAGE, address=ADDRESS)
    assert (caught.value.errno, caught.value.cure) == (errno.EFAULT, "")


def test_a_device_by_a_passed_fd(made: MadeVfio, cdev_fd: int) -> None:
    with open_device(fd=cdev_fd, root=made.root) as device:
        assert device.name == NIC
        assert isinstance(device.dma, Ioas)
        assert len(made.attached) == 1
    os.fstat(cdev_fd)  # still the caller's
    assert not made.open_files("dev/iommu")


def test_fds_of_something_else(made: MadeVfio) -> None:
    with (
        open("/dev/zero") as zero,
        pytest.raises(HostDeviceUnavailable, match="is no VFIO device"),
    ):
        open_device(fd=zero.fileno(), root=made.root)
    # Not even what is opened meanwhile under the same number.
    with pytest.raises(HostDeviceUnavailable, match="is not open"):
        open_device(fd=next_fd(), root=made.root)
    with pytest.raises(HostDeviceUnavailable, match="is not open"):
        open_device(fd=1 << 40, root=made.root)


def next_fd() -> int:
    """The number that the next file gets."""
    fd = os.open("/dev/zero", os.O_RDONLY)
    os.close(fd)
    return fd


def test_a_kernel_without_cdevs(made: MadeVfio, ioas: Ioas) -> None:
    made.device("0000:05:00.0", 20, cdev=False)
    with pytest.raises(HostDeviceUnavailable, match="CONFIG_VFIO_DEVICE_CDEV"):
        ioas.open_device("0000:05:00.0")
    made.host.function("0000:06:00.0", driver="e1000e", group=21)
    with pytest.raises(HostDeviceUnavailable, match=r"bound to e1000e; `pyvmm bind 0000:06:00.0`"):
        ioas.open_device("0000:06:00.0")


def test_an_iommufd_that_is_shared(made: MadeVfio) -> None:
    with Iommufd(root=made.root) as iommufd_:
        with Ioas(iommufd_, root=made.root) as one, Ioas(iommufd_, root=made.root) as other:
            assert one.id != other.id
            one.huge_pages = False
            assert (one.huge_pages, other.huge_pages) == (False, True)
            iommufd_.compat_ioas = one.id
            assert iommufd_.compat_ioas == one.id
            iommufd_.compat_ioas = None
            assert iommufd_.compat_ioas is None
            iommufd_.counts_by_process = False
            assert not iommufd_.counts_by_process
            one.allow_iovas([Interval(0x1000, 0x2000), Interval(0x2000, 0x9000)])
            assert made.allowed == [(0x1000, 0x8FFF)]
        assert made.ioases == set()
        assert made.open_files("dev/iommu") == 1


def test_many_ranges(ioas: Ioas) -> None:
    """More than there is room for at the first question."""
    assert len(ioas.iova_ranges()) == 39


def test_files_are_mapped_as_such_where_the_kernel_can(
    ioas: Ioas, made: MadeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 4 * PAGE)
    with ioas.open_device(NIC):
        asked: list[tuple[int, int]] = []

        def map_file(fd_: int, path: str, arg: Any) -> None:
            asked.append((arg.fd, arg.start))
            made.mapped[Interval.sized(arg.iova, arg.length)] = (0, arg.flags)

        monkeypatch.setattr(made, "iommu_ioas_map_file", map_file, raising=False)
        ioas.map(0x10000, PAGE, address=ADDRESS, fd=fd, offset=PAGE)
        assert asked == [(fd, PAGE)]
        made.failures["IOMMU_IOAS_MAP_FILE"] = errno.EINVAL  # not of this file
        ioas.map(0x20000, PAGE, address=ADDRESS, fd=fd)
        assert made.mapped[Interval(0x20000, 0x21000)][0] == ADDRESS
        made.failures["IOMMU_IOAS_MAP_FILE"] = errno.ENOMEM
        with pytest.raises(DeviceError, match="IOMMU_IOAS_MAP_FILE: ENOMEM"):
            ioas.map(0x30000, PAGE, address=ADDRESS, fd=fd)
    os.close(fd)


def test_dirty_pages_by_the_iommu(ioas: Ioas, made: MadeVfio) -> None:
    made.hardware = iommufd.IOMMU_HW_CAP_DIRTY_TRACKING
    assert ioas.dirty is None
    with ioas.open_device(NIC):
        (table,) = made.hwpts
        tracking = ioas.dirty
        assert tracking is not None
        tracking.start()
        assert made.hwpts == {table: True}
        with ioas.open_device(NIC2):  # shares the page tables
            assert list(made.hwpts) == [table]
        made.failures["VFIO_DEVICE_ATTACH_IOMMUFD_PT"] = errno.EINVAL
        with ioas.open_device(DISK):  # can't, and is tracked all the same
            assert list(made.hwpts.values()) == [True, True]
            assert tracking.page_size == PAGE
            assert tracking.report(Interval(0x10000, 0x14000)) == (Interval(0x10000, 0x12000),)
        assert made.hwpts == {table: True}
        tracking.stop()
        assert made.hwpts == {table: False}
        made.hardware = 0
        with ioas.open_device(DISK):  # nobody can say what this one has written
            assert ioas.dirty is None
        assert ioas.dirty is not None
    assert made.hwpts == {}
