# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KernelDevice: its regions' bounds, its resets, and its end; a memfd is its file."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, DeviceGone, DmaSpace, EventFd, Interval
from pyvmm.vfio.kernel.device import KernelDevice
from tests.unit.vfio.fakes import open_files
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, answer, refuse

BDF = "fffe:1f:1e.7"
BAR0, BAR1, BROKEN, SMALL, CONFIG = 0, 1, 2, 3, vfio.VFIO_PCI_CONFIG_REGION_INDEX
READ, WRITE = vfio.VFIO_REGION_INFO_FLAG_READ, vfio.VFIO_REGION_INFO_FLAG_WRITE
MMAP = vfio.VFIO_REGION_INFO_FLAG_MMAP
SIZES = {
    BAR0: (READ | WRITE | MMAP, 0x1000),
    BAR1: (READ, 0x1000),
    SMALL: (READ | WRITE | MMAP, 0x100),
    CONFIG: (READ | WRITE, 0x1000),
}
KVM_FILE = 17


def region(data: memoryview) -> None:
    """Region n at page n of the file."""
    index = struct.unpack_from("=I", data, 8)[0]
    if index == BROKEN:
        raise OSError(errno.EIO, "")
    flags, size = SIZES.get(index, (0, 0))
    answer(vfio.vfio_region_info(32, flags, index, 0, size, index << 12))(data)


def irq(data: memoryview) -> None:
    index = struct.unpack_from("=I", data, 8)[0]
    answer(vfio.vfio_irq_info(16, vfio.VFIO_IRQ_INFO_EVENTFD, index, 1))(data)


class Released:
    """Counts how often a device was released, and sees to it that its file was closed by then."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("device")
        os.truncate(self.fd, 16 << 12)
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(self.fd)


@pytest.fixture
def released() -> Released:
    return Released()


@pytest.fixture
def told(kernel: FakeKernel) -> FakeKernel:
    info = vfio.vfio_device_info(24, vfio.VFIO_DEVICE_FLAGS_PCI, 9, 5, 0, 0)
    kernel.on("VFIO_DEVICE_GET_INFO", answer(info))
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", region)
    kernel.on("VFIO_DEVICE_GET_IRQ_INFO", irq)
    kernel.on("VFIO_DEVICE_SET_IRQS", lambda data: 0)
    return kernel


def make(released: Released) -> KernelDevice:
    return KernelDevice(released.fd, BDF, cast(DmaSpace, None), released, KVM_FILE)


@pytest.fixture
def device(told: FakeKernel, released: Released) -> Iterator[KernelDevice]:
    before = set(open_files()) - {released.fd}
    with make(released) as device:
        yield device
    assert released.times == 1
    assert set(open_files()) <= before | {released.fd}


def test_a_device_that_cannot_be_asked_is_let_go(kernel: FakeKernel, released: Released) -> None:
    with pytest.raises(DeviceError, match="this file is no VFIO device"):
        make(released)
    assert released.times == 1


def test_what_it_is(device: KernelDevice) -> None:
    assert device.info.pci
    assert device.name == BDF
    assert device.kvm_file == KVM_FILE


def test_no_region_is_at_anothers_index(device: KernelDevice) -> None:
    regions = device.regions
    assert [region.index for region in regions] == list(range(9))
    assert [region.index for region in regions if region.size] == [BAR0, BAR1, SMALL, CONFIG]
    assert [region.index for region in regions if region.note] == [BROKEN]


def test_a_bar_smaller_than_a_page_is_mapped_with_the_page(device: KernelDevice) -> None:
    assert [index for index in range(9) if device.owns_page(index)] == [SMALL]
    page = Interval(0, 0x1000)
    with device.map_region(SMALL, page) as mapping:
        mapping.view[0:4] = b"here"
        assert device.region_read(SMALL, 0, 4) == b"here"
        assert mapping.size == 0x1000
    with pytest.raises(DeviceError, match="not in a mappable area"):
        device.map_region(SMALL, Interval(0, 0x2000))


def test_each_question_is_asked_once(device: KernelDevice, told: FakeKernel) -> None:
    for _ in range(2):
        assert device.region_info(BAR0).size == 0x1000
        assert device.irq_info(0).count == 1
    assert len(told.asked("VFIO_DEVICE_GET_REGION_INFO")) == 1
    assert len(told.asked("VFIO_DEVICE_GET_IRQ_INFO")) == 1


@pytest.mark.parametrize("index", [-1, 9, 1 << 40])
def test_indexes_beyond_all(device: KernelDevice, index: int) -> None:
    for access in (
        lambda: device.region_info(index),
        lambda: device.region_read(index, 0, 1),
        lambda: device.region_write(index, 0, b"1"),
        lambda: device.irq_info(index),
        lambda: device.disable_irqs(index),
        lambda: device.set_triggers(index, 0, []),
        lambda: device.add_ioeventfd(index, 0, 1, 0, 0),
    ):
        with pytest.raises(DeviceError, match=f"{BDF}: .* {index} of ") as caught:
            access()
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("size", [1, 2, 4, 8, 13])
def test_access(device: KernelDevice, size: int) -> None:
    data = bytes(range(1, size + 1))
    device.region_write(BAR0, 0x1000 - size, data)
    assert device.region_read(BAR0, 0x1000 - size, size) == data
    assert device.region_read(BAR1, 0, 8) == bytes(8)


@pytest.mark.parametrize(
    ("offset", "size"), [(0x1000, 1), (0xFFF, 2), (-1, 1), (1 << 40, 4), (1 << 70, 4), (0, 0x1001)]
)
def test_a_region_has_bounds(device: KernelDevice, offset: int, size: int) -> None:
    with pytest.raises(DeviceError, match="it has 0x1000 bytes"):
        device.region_read(BAR0, offset, size)
    with pytest.raises(DeviceError, match="it has 0x1000 bytes"):
        device.region_write(BAR0, offset, bytes(size))
    with pytest.raises(DeviceError, match="it has 0x1000 bytes"):
        device.add_ioeventfd(BAR0, offset, size, 0, 0)


def test_sizes_below_zero(device: KernelDevice) -> None:
    with pytest.raises(DeviceError, match="reading -1 bytes"):
        device.region_read(BAR0, 4, -1)


def test_a_region_that_is_not_there(device: KernelDevice) -> None:
    with pytest.raises(DeviceError, match=r"the device has no such region$"):
        device.region_read(5, 0, 1)
    with pytest.raises(DeviceError, match=r"no such region \(.*asking for region 2: .*EIO"):
        device.region_read(BROKEN, 0, 1)


def failing(name: str, number: int, monkeypatch: pytest.MonkeyPatch, begin: int) -> None:
    """Have pread or pwrite fail for BAR0, and work for config space."""
    real = getattr(os, name)

    def access(fd: int, what: Any, offset: int) -> Any:
        if begin <= offset < begin + 0x1000:
            raise OSError(number, "")
        return real(fd, what, offset)

    monkeypatch.setattr(f"os.{name}", access)


def test_why_an_access_failed(device: KernelDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    failing("pread", errno.EIO, monkeypatch, 0)
    failing("pwrite", errno.EINVAL, monkeypatch, 0x1000)
    with pytest.raises(DeviceError, match="memory space is disabled") as caught:
        device.region_read(BAR0, 0, 4)
    assert caught.value.errno == errno.EIO
    device.region_write(CONFIG, 4, b"\x02\x00")
    with pytest.raises(DeviceError, match="couldn't be woken"):
        device.region_read(BAR0, 0, 4)
    with pytest.raises(DeviceError, match="it is read-only"):
        device.region_write(BAR1, 0, b"1234")
    failing("pread", errno.ENODEV, monkeypatch, 0)
    with pytest.raises(DeviceGone):
        device.region_read(BAR0, 0, 4)


def test_mapping(device: KernelDevice) -> None:
    with device.map_region(BAR0, Interval(0, 0x1000)) as mapping:
        mapping.view[:4] = b"here"
        assert device.region_read(BAR0, 0, 4) == b"here"
    with pytest.raises(DeviceError, match="not in a mappable area"):
        device.map_region(BAR1, Interval(0, 0x1000))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTTY])
def test_a_reset_that_there_is_not(device: KernelDevice, told: FakeKernel, number: int) -> None:
    told.on("VFIO_DEVICE_RESET", refuse(number))
    with pytest.raises(DeviceError, match=f"{BDF}: reset: .*{errno.errorcode[number]}") as caught:
        device.reset()
    assert "try hot_reset(), which resets its bus" in str(caught.value)


def test_the_reset_methods_are_told(
    device: KernelDevice, told: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Function:
        reset_methods = ("pm", "bus")

    monkeypatch.setattr("pyvmm.vfio.kernel.device.HostFunction", lambda bdf, root: Function)
    told.on("VFIO_DEVICE_RESET", refuse(errno.ENOTTY))
    with pytest.raises(DeviceError, match="the function has only pm, bus, in vain"):
        device.reset()
    told.on("VFIO_DEVICE_RESET", refuse(errno.EAGAIN))
    with pytest.raises(DeviceError, match="try again"):
        device.reset()
    told.on("VFIO_DEVICE_RESET", lambda data: 0)
    device.reset()


@pytest.mark.parametrize("by_devid", [False, True])
def test_a_hot_reset_alone(device: KernelDevice, told: FakeKernel, by_devid: bool) -> None:
    def info(data: memoryview) -> None:
        flag = vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID if by_devid else 0
        data[4:20] = struct.pack("=IIIHBB", flag, 1, 5, 0, 1, 0)[:16]

    told.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", info)
    told.on("VFIO_DEVICE_PCI_HOT_RESET", lambda data: 0)
    device.hot_reset()
    sent = told.asked("VFIO_DEVICE_PCI_HOT_RESET")[-1]
    assert sent[8:] == (struct.pack("=I", 0) if by_devid else struct.pack("=Ii", 1, KVM_FILE))
    device.hot_reset([3, 4])
    assert told.asked("VFIO_DEVICE_PCI_HOT_RESET")[-1][8:] == struct.pack("=Iii", 2, 3, 4)


def test_features_that_it_has_not(device: KernelDevice) -> None:
    with pytest.raises(DeviceError, match="MIGRATION"):
        _ = device.migration
    with pytest.raises(DeviceError, match="logging its DMA"):
        _ = device.dma_logging


def test_the_end_disables_interrupts_and_comes_once(told: FakeKernel, released: Released) -> None:
    device = make(released)
    with EventFd() as eventfd:
        device.set_triggers(0, 0, [eventfd.fileno()])
    device.close()
    device.close()
    assert released.times == 1
    assert [struct.unpack_from("=I", d, 16)[0] for d in told.asked("VFIO_DEVICE_SET_IRQS")] == [
        1,
        0,
    ]
    for access in (
        lambda: device.region_read(BAR0, 0, 4),
        device.reset,
        lambda: device.set_triggers(0, 0, [5]),
    ):
        with pytest.raises(DeviceGone, match=f"{BDF}: closed"):
            access()


def test_a_device_that_is_gone_can_still_be_closed(told: FakeKernel, released: Released) -> None:
    device = make(released)
    with EventFd() as eventfd:
        device.set_triggers(0, 0, [eventfd.fileno()])
    told.on("VFIO_DEVICE_SET_IRQS", refuse(errno.ENODEV))
    device.close()
    assert released.times == 1
