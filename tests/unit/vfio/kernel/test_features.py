# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_FEATURE: probing, and the structures of the small features."""

from __future__ import annotations

import errno
import os
import struct
from uuid import UUID

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, DeviceGone, Interval
from pyvmm.vfio.features import Access, Feature
from pyvmm.vfio.kernel.features import KernelFeatures
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, Handler, refuse

GET, SET = vfio.VFIO_DEVICE_FEATURE_GET, vfio.VFIO_DEVICE_FEATURE_SET
PROBE = vfio.VFIO_DEVICE_FEATURE_PROBE


@pytest.fixture
def features(file: KernelFile) -> KernelFeatures:
    return KernelFeatures(file)


def having(access: dict[int, int], number: int = errno.ENOTTY) -> Handler:
    """Answer probes as the kernel does, for features with this access."""

    def handler(data: memoryview) -> int:
        argsz, flags = struct.unpack_from("=II", data)
        assert argsz == len(data) == 8
        assert flags & PROBE
        there = access.get(flags & vfio.VFIO_DEVICE_FEATURE_MASK)
        if there is None:
            raise OSError(number, "")
        if flags & (GET | SET) & ~there:
            raise OSError(errno.EINVAL, "")
        return 0

    return handler


def test_every_feature_of_the_kernel_has_a_name() -> None:
    known = {
        name: number
        for name, number in vars(vfio).items()
        if name.startswith("VFIO_DEVICE_FEATURE_")
        and not name.endswith(("_MASK", "_GET", "_SET", "_PROBE", "_MASTER"))
    }
    known["VFIO_DEVICE_FEATURE_BUS_MASTER"] = vfio.VFIO_DEVICE_FEATURE_BUS_MASTER
    assert known == {f"VFIO_DEVICE_FEATURE_{f.name}": f for f in Feature}


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL])
def test_probing(kernel: FakeKernel, features: KernelFeatures, number: int) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", having({0: SET, 2: GET | SET, 11: GET}, number))
    assert features.probe(Feature.PCI_VF_TOKEN) == Access.SET
    assert features.probe(Feature.LOW_POWER_ENTRY) == Access(0)
    assert features.supported() == {
        Feature.PCI_VF_TOKEN: Access.SET,
        Feature.MIG_DEVICE_STATE: Access.GET | Access.SET,
        Feature.DMA_BUF: Access.GET,
    }


def test_probing_a_device_that_is_gone(kernel: FakeKernel, features: KernelFeatures) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", refuse(errno.ENODEV))
    with pytest.raises(DeviceGone):
        features.supported()


def test_a_feature_that_is_not_there_says_why(features: KernelFeatures) -> None:
    with pytest.raises(DeviceError, match=r"setting feature PCI_VF_TOKEN: .*ENOTTY.*SR-IOV"):
        features.set_vf_token(UUID(int=1))
    with pytest.raises(DeviceError, match=r"getting feature 4660: .*ENOTTY"):
        features.get(0x1234, b"")


def sent(kernel: FakeKernel) -> tuple[int, bytes]:
    """Flags and data of the one call so far."""
    (request,) = kernel.asked("VFIO_DEVICE_FEATURE")
    argsz, flags = struct.unpack_from("=II", request)
    assert argsz == len(request)
    return flags, request[8:]


def test_vf_token(kernel: FakeKernel, features: KernelFeatures) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", lambda data: 0)
    token = UUID("00112233-4455-6677-8899-aabbccddeeff")
    features.set_vf_token(token)
    assert sent(kernel) == (SET | 0, bytes.fromhex("00112233445566778899aabbccddeeff"))


def test_low_power(kernel: FakeKernel, features: KernelFeatures) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", lambda data: 0)
    features.enter_low_power()
    assert sent(kernel) == (SET | Feature.LOW_POWER_ENTRY, b"")
    kernel.calls.clear()
    features.enter_low_power(5)
    assert sent(kernel) == (SET | Feature.LOW_POWER_ENTRY_WITH_WAKEUP, struct.pack("=iI", 5, 0))
    kernel.calls.clear()
    features.exit_low_power()
    assert sent(kernel) == (SET | Feature.LOW_POWER_EXIT, b"")
    kernel.on("VFIO_DEVICE_FEATURE", refuse(errno.EINVAL))
    with pytest.raises(DeviceError, match="in low power already"):
        features.enter_low_power()


@pytest.mark.parametrize("on", [False, True])
def test_bus_master(kernel: FakeKernel, features: KernelFeatures, on: bool) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", lambda data: 0)
    features.set_bus_master(on)
    assert sent(kernel) == (SET | Feature.BUS_MASTER, struct.pack("=I", on))


def test_dma_buf(kernel: FakeKernel, features: KernelFeatures) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", lambda data: 77)
    areas = [Interval(0, 0x1000), Interval(0x4000, 0x6000)]
    assert features.dma_buf(2, areas) == 77
    flags, data = sent(kernel)
    assert flags == GET | Feature.DMA_BUF
    told = vfio.vfio_device_feature_dma_buf.from_buffer_copy(data)
    assert (told.region_index, told.flags, told.nr_ranges) == (2, 0, 2)
    assert told.open_flags == os.O_RDWR | os.O_CLOEXEC
    assert data[16:] == struct.pack("=4Q", 0, 0x1000, 0x4000, 0x2000)


def test_dma_bufs_that_make_no_sense(kernel: FakeKernel, features: KernelFeatures) -> None:
    with pytest.raises(DeviceError, match=r"a dma-buf of .* of region -1: EINVAL"):
        features.dma_buf(-1, [])
    assert not kernel.calls
    kernel.on("VFIO_DEVICE_FEATURE", refuse(errno.ENODEV))
    with pytest.raises(DeviceError, match="region 7 is no BAR"):
        features.dma_buf(7, [Interval(0, 0x1000)])
