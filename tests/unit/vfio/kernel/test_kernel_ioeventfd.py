# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Writes to registers by eventfd, as the kernel is told of them."""

from __future__ import annotations

import errno

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError
from pyvmm.vfio.kernel import ioeventfd
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, refuse


@pytest.mark.parametrize(
    ("size", "flag"),
    [
        (1, vfio.VFIO_DEVICE_IOEVENTFD_8),
        (2, vfio.VFIO_DEVICE_IOEVENTFD_16),
        (4, vfio.VFIO_DEVICE_IOEVENTFD_32),
        (8, vfio.VFIO_DEVICE_IOEVENTFD_64),
    ],
)
def test_the_encoding_is_the_kernels(
    kernel: FakeKernel, file: KernelFile, size: int, flag: int
) -> None:
    kernel.on("VFIO_DEVICE_IOEVENTFD", lambda data: 0)
    ioeventfd.assign(file, 1 << 40 | 0x10, size, (1 << 8 * size) - 1, 5)
    (request,) = kernel.asked("VFIO_DEVICE_IOEVENTFD")
    told = vfio.vfio_device_ioeventfd.from_buffer_copy(request)
    assert (told.argsz, told.flags) == (len(request), flag)
    assert (told.offset, told.data, told.fd) == (1 << 40 | 0x10, (1 << 8 * size) - 1, 5)


@pytest.mark.parametrize(
    ("offset", "size", "value"), [(0, 3, 0), (0, 0, 0), (0, 1, 256), (0, 1, -1), (-1, 1, 0)]
)
def test_what_makes_no_sense_is_not_sent(
    kernel: FakeKernel, file: KernelFile, offset: int, size: int, value: int
) -> None:
    with pytest.raises(DeviceError, match="1, 2, 4 or 8 bytes") as caught:
        ioeventfd.assign(file, offset, size, value, 5)
    assert caught.value.errno == errno.EINVAL
    assert not kernel.calls


def test_one_that_is_not_there_is_no_device_that_is_gone(
    kernel: FakeKernel, file: KernelFile
) -> None:
    kernel.on("VFIO_DEVICE_IOEVENTFD", refuse(errno.ENODEV))
    with pytest.raises(DeviceError, match="this write has no eventfd"):
        ioeventfd.assign(file, 0, 4, 0, ioeventfd.NONE)
