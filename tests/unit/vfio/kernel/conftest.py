# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A scripted kernel, and a device's file in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, open_file
from tests.unit.vfio.kernel.made_spaces import cdev_fd, container, ioas, made, space

__all__ = ["cdev_fd", "container", "ioas", "made", "space"]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel()
    monkeypatch.setattr("pyvmm.vfio.kernel.call.ioctl", fake.ioctl)
    return fake


@pytest.fixture
def file(kernel: FakeKernel) -> Iterator[KernelFile]:
    with open_file() as file:
        yield file
