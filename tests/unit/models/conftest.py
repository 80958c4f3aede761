# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the models' tests share: guest memory behind a model's DMA, and a check for leaks."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator

import pytest

from pyvmm.vfio import Device

Memory = Callable[[Device, int, int], mmap.mmap]


@pytest.fixture(autouse=True)
def _nothing_left_behind(no_leaks: None) -> None:
    """Every model closed by its test leaves no fd, thread or mapping."""


@pytest.fixture
def memory() -> Iterator[Memory]:
    """memory(device, iova, size): shared memory that the device reaches at that IOVA."""
    maps: list[mmap.mmap] = []
    fds: list[int] = []

    def make(device: Device, iova: int, size: int) -> mmap.mmap:
        fd = os.memfd_create("guest memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fds.append(fd)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # as guest RAM is
        pages = mmap.mmap(fd, size)
        maps.append(pages)
        address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        device.dma.map(iova, size, address=address, fd=fd)
        return pages

    yield make
    for fd in fds:
        os.close(fd)
    for pages in maps:
        pages.close()
