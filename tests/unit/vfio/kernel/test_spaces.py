# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA spaces of the kernel's: devices come and go, mappings stay, and everything ends in order."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pyvmm.uapi import iommufd, vfio
from pyvmm.vfio import DeviceError, HostDeviceUnavailable, Interval
from pyvmm.vfio.kernel import (
    BACKENDS,
    Container,
    Ioas,
    Iommufd,
    KernelSpace,
    NoIommuSpace,
    backends,
    open_device,
    open_space,
)
from pyvmm.vfio.user import DmaTable
from tests.unit.vfio.fakes import PATIENCE
from tests.unit.vfio.host.made_host import MadeHost
from tests.unit.vfio.kernel.made_vfio import APERTURE, MSI, MadeVfio

PAGE = 4096
NIC, NIC2, DISK = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"
ADDRESS = 0x7F0000000000
GROUPS = ("type1v2", "type1", "iommufd-compat")
ALL = (*GROUPS, "iommufd")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> MadeVfio:
    made = MadeVfio(MadeHost(tmp_path))
    made.device(NIC, 14)
    made.device(NIC2, 14)
    made.device(DISK, 15)
    monkeypatch.setattr("pyvmm.vfio.kernel.call.ioctl", made.ioctl)
    monkeypatch.setattr("pyvmm.vfio.kernel.opening._PATIENCE", 0.05)
    return made


@pytest.fixture(params=ALL)
def space(request: pytest.FixtureRequest, made: MadeVfio) -> Iterator[KernelSpace]:
    with open_space(request.param, root=made.root) as space:
        yield space


@pytest.fixture
def container(made: MadeVfio) -> Iterator[Container]:
    with Container(root=made.root) as container:
        yield container


@pytest.fixture
def ioas(made: MadeVfio) -> Iterator[Ioas]:
    with Ioas(root=made.root) as ioas:
        yield ioas


# Mapping.


def test_mapping_and_rights(space: KernelSpace, made: MadeVfio) -> None:
    with space.open_device(NIC):
        space.map(0x10000, PAGE, address=ADDRESS)
        space.map(0x20000, PAGE, address=ADDRESS, writable=False)
        space.map(0x30000, PAGE, address=ADDRESS, readable=False)
        rights = [flags for _, (_, flags) in sorted(made.mapped.items())]
        if space.backend == "iommufd":
            r, w = iommufd.IOMMU_IOAS_MAP_READABLE, iommufd.IOMMU_IOAS_MAP_WRITEABLE
            assert rights == [iommufd.IOMMU_IOAS_MAP_FIXED_IOVA | f for f in (r | w, r, w)]
        else:
            r, w = vfio.VFIO_DMA_MAP_FLAG_READ, vfio.VFIO_DMA_MAP_FLAG_WRITE
            assert rights == [r | w, r, w]
        space.unmap(0x20000, PAGE)
        assert sorted(made.mapped) == [Interval(0x10000, 0x11000), Interval(0x30000, 0x31000)]
        before = len(made.log)
        space.unmap_all()
        assert made.mapped == {}
        assert len(made.log) == before + 1


def test_mappings_outlive_devices_and_come_before_them(space: KernelSpace, made: MadeVfio) -> None:
    space.map(0x10000, PAGE, address=ADDRESS, writable=False)
    for bdf in (NIC, DISK):
        with space.open_device(bdf):
            space.map(0x20000, PAGE, address=ADDRESS)
            assert sorted(made.mapped) == [Interval(0x10000, 0x11000), Interval(0x20000, 0x21000)]
            assert made.mapped[Interval(0x10000, 0x11000)][1] != 3
        space.unmap(0x20000, PAGE)
    assert space.mappings == (Interval(0x10000, 0x11000),)


def test_what_the_space_is(space: KernelSpace) -> None:
    with space.open_device(NIC):
        assert space.page_size == PAGE
        assert space.iova_ranges() == (Interval(0, MSI.start), Interval(MSI.end, APERTURE))
        free = space.entries_available
        with space.alloc(PAGE):
            if free is None:
                assert space.backend == "iommufd"
            else:
                assert space.entries_available == free - 1
        assert (space.dirty is None) == (space.backend in ("iommufd", "type1"))


@pytest.mark.parametrize(
    ("iova", "size", "address", "why"),
    [
        (0x10001, PAGE, ADDRESS, "the IOVA 0x10001 is not a multiple of the page size 0x1000"),
        (0x10000, 100, ADDRESS, "the size 0x64"),
        (0x10000, PAGE, ADDRESS + 8, "the address 0x7f0000000008"),
        (0x10000, 0, ADDRESS, "not a positive number"),
        (0x10000, -PAGE, ADDRESS, "not a positive number"),
        (-PAGE, PAGE, ADDRESS, "64 bits"),
        ((1 << 64) - PAGE, 2 * PAGE, ADDRESS, "64 bits"),
        (MSI.start, PAGE, ADDRESS, r"\[0xfee00000, 0xfef00000\) is the MSI window of group 14"),
        (MSI.start - PAGE, 2 * PAGE, ADDRESS, "the MSI window of group 14; map around it"),
        (APERTURE, PAGE, ADDRESS, r"out of the IOMMU's reach, which is \[0x0, 0xfee00000\) and"),
    ],
)
def test_why_it_can_not_be_mapped(
    space: KernelSpace, made: MadeVfio, iova: int, size: int, address: int, why: str
) -> None:
    with space.open_device(NIC):
        with pytest.raises(DeviceError, match=why) as caught:
            space.map(iova, size, address=address)
        assert caught.value.errno == errno.EINVAL
        assert f"mapping IOVA {iova:#x}+{size:#x}: " in str(caught.value)
    assert made.mapped == {}
    assert space.mappings == ()


def test_neither_readable_nor_writable(space: KernelSpace) -> None:
    with pytest.raises(DeviceError, match="neither read nor write"):
        space.map(0, PAGE, address=ADDRESS, readable=False, writable=False)


def test_a_file_alone_is_mapped(space: KernelSpace, made: MadeVfio) -> None:
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 4 * PAGE)
    os.pwrite(fd, b"ram!", PAGE)
    space.map(0x10000, PAGE, address=0, fd=fd, offset=PAGE)
    os.close(fd)
    with space.open_device(NIC):
        (address, _), *_ = made.mapped.values()
        assert ctypes.string_at(address, 4) == b"ram!"
        space.unmap(0x10000, PAGE)
        assert not _memfds()
        fd = os.memfd_create("small")
        with pytest.raises(DeviceError, match="needs 0x1000 bytes of a file that has 0x0"):
            space.map(0x10000, PAGE, address=0, fd=fd)
        os.close(fd)


def _memfds() -> list[str]:
    return [
        line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:ram" in line
    ]


# Limits.


@pytest.mark.parametrize("backend", ["type1v2", "iommufd"])
def test_limits_are_told_with_numbers(
    made: MadeVfio, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = "IOMMU_IOAS_MAP" if backend == "iommufd" else "VFIO_IOMMU_MAP_DMA"
    monkeypatch.setattr("pyvmm.vfio.kernel.map_errors.may_lock_anything", lambda: False)
    monkeypatch.setattr("resource.getrlimit", lambda which: (8 << 20, 8 << 20))
    with open_space(backend, root=made.root) as space, space.open_device(NIC):
        made.failures[call] = errno.ENOMEM
        with pytest.raises(
            DeviceError,
            match=r"takes 16384 KiB of locked memory, and of RLIMIT_MEMLOCK's 8192 KiB \d+ KiB are",
        ):
            space.map(0x10000, 16 << 20, address=ADDRESS)
        made.failures[call] = errno.ENOSPC
        with pytest.raises(DeviceError, match=r"dma_entry_limit\) is reached with 0: map fewer"):
            space.map(0x10000, PAGE, address=ADDRESS)
        monkeypatch.setattr("pyvmm.vfio.kernel.map_errors.may_lock_anything", lambda: True)
        made.failures[call] = errno.ENOMEM
        with pytest.raises(DeviceError, match="has not that much memory to lock"):
            space.map(0x10000, PAGE, address=ADDRESS)
        assert space.mappings == ()


@pytest.mark.parametrize("backend", ALL)
def test_bad_memory_is_told(made: MadeVfio, backend: str) -> None:
    call = "IOMMU_IOAS_MAP" if backend == "iommufd" else "VFIO_IOMMU_MAP_DMA"
    with open_space(backend, root=made.root) as space, space.open_device(NIC):
        made.failures[call] = errno.EFAULT
        with pytest.raises(DeviceError, match=r"EFAULT .*there is no memory at address 0x1000"):
            space.map(0x10000, PAGE, address=0x1000)
        code = Path("/proc/self/maps").read_text().splitlines()
        readonly = next(int(line.split("-")[0], 16) for line in code if " r--p " in line)
        made.failures[call] = errno.EFAULT
        with pytest.raises(DeviceError, match=r"is read-only: map it with writable=False"):
            space.map(0x10000, PAGE, address=readonly)


# Groups and containers.


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


@pytest.mark.parametrize("call", ["VFIO_GROUP_SET_CONTAINER", "VFIO_GROUP_GET_DEVICE_FD"])
def test_a_group_somebody_else_uses(container: Container, made: MadeVfio, call: str) -> None:
    made.failures[call] = errno.EPERM
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


def test_an_iommu_that_trusts_interrupts(container: Container, made: MadeVfio) -> None:
    made.failures["VFIO_SET_IOMMU"] = errno.EPERM
    with pytest.raises(
        HostDeviceUnavailable, match=r"vfio_iommu_type1/parameters/allow_unsafe_interrupts"
    ):
        container.open_device(NIC)


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


# iommufd.


def test_a_device_by_its_cdev(ioas: Ioas, made: MadeVfio) -> None:
    cdev = "dev/vfio/devices/vfio10"
    with ioas.open_device(NIC) as device:
        assert made.attached == {cdev: ioas.id}
        assert made.open_files(cdev) == 1
        assert device.kvm_file >= 0
        assert device.name == NIC
        with pytest.raises(HostDeviceUnavailable, match=r"bound already: .*vfio10 is open in"):
            ioas.open_device(NIC)
        made.failures["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EPERM
        with pytest.raises(
            HostDeviceUnavailable, match=r"another user.*iommufd/parameters/allow_unsafe_interrupts"
        ):
            ioas.open_device(DISK)
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


@pytest.fixture
def cdev_fd(made: MadeVfio) -> Iterator[int]:
    """Character devices can't be made here: what stands for the NIC's cdev is /dev/null."""
    device = os.path.realpath(f"{made.root}/sys/bus/pci/devices/{NIC}/vfio-dev/vfio10")
    made.host.link("sys/dev/char/1:3", os.path.relpath(device, made.root))
    fd = os.open("/dev/null", os.O_RDWR)
    yield fd
    os.close(fd)


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


# Without an IOMMU.


def test_no_iommu(made: MadeVfio) -> None:
    made.device("0000:07:00.0", 30, no_iommu=True, cdev=False)
    with NoIommuSpace(root=made.root) as space:
        device = open_device("0000:07:00.0", space=space)
        assert made.iommu == vfio.VFIO_NOIOMMU_IOMMU
        with pytest.raises(DeviceError, match="no guest can have it"):
            space.map(0x10000, PAGE, address=ADDRESS)
        with pytest.raises(DeviceError, match="leave iova out"):
            space.alloc(PAGE, iova=0x1000)
        assert space.mappings == ()
        device.close()
    made.extensions.remove(vfio.VFIO_NOIOMMU_IOMMU)
    with pytest.raises(HostDeviceUnavailable, match="enable_unsafe_noiommu_mode"):
        NoIommuSpace(root=made.root)


# Choosing.


def test_a_host_without_an_iommu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its containers can be opened all the same, but no device joins them."""
    made = MadeVfio(MadeHost(tmp_path))
    made.device(NIC, 14, no_iommu=True)
    monkeypatch.setattr("pyvmm.vfio.kernel.call.ioctl", made.ioctl)
    missing = dict(backends(root=made.root))
    assert [name for name in missing if not missing[name]] == ["noiommu"]
    assert missing["type1v2"].startswith("no IOMMU is in use; enable VT-d or AMD-Vi")
    with open_space(root=made.root) as space:
        assert space.backend == "noiommu"


def test_the_best_there_is(made: MadeVfio) -> None:
    assert [name for name, missing in backends(root=made.root) if not missing] == list(BACKENDS)
    with open_space(root=made.root) as space:
        assert space.backend == "iommufd"
    os.unlink(f"{made.root}/dev/iommu")
    with open_space(root=made.root) as space:
        assert space.backend == "type1v2"
    with pytest.raises(HostDeviceUnavailable, match="choose one of iommufd, type1v2"):
        open_space("type2", root=made.root)


def test_the_best_for_a_device(made: MadeVfio) -> None:
    made.device("0000:05:00.0", 20, cdev=False)
    made.device("0000:07:00.0", 30, no_iommu=True, cdev=False)
    for bdf, backend in ((NIC, "iommufd"), ("05:00.0", "type1v2"), ("07:00.0", "noiommu")):
        with open_device(bdf, root=made.root) as device:
            assert isinstance(device.dma, KernelSpace)
            assert device.dma.backend == backend
        assert not made.open_files("dev/vfio/vfio")
        assert not made.open_files("dev/iommu")
    with open_device(NIC, backend="type1", root=made.root) as device:
        assert made.iommu == vfio.VFIO_TYPE1_IOMMU


def test_what_does_not_go_together(container: Container, made: MadeVfio, cdev_fd: int) -> None:
    with pytest.raises(ValueError, match="either bdf or fd"):
        open_device()
    with pytest.raises(HostDeviceUnavailable, match="which takes iommufd, not type1v2"):
        open_device(fd=cdev_fd, space=container, root=made.root)
    with pytest.raises(HostDeviceUnavailable, match="the DMA space is type1v2, not iommufd"):
        open_device(NIC, space=container, backend="iommufd")
    with DmaTable() as table, pytest.raises(HostDeviceUnavailable, match="can't join a DmaTable"):
        open_device(NIC, space=table)
    with pytest.raises(HostDeviceUnavailable, match=r"no PCI device 0000:99:00\.0"):
        container.open_device("99:00.0")
