# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA without an IOMMU: by physical address, and never for guests."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.buffer import SharedMemory
from pyvmm.vfio.kernel import open_device, open_space
from tests.lab.engines import identify
from tests.lab.written import written

PAGE = mmap.PAGESIZE
HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")

GetDevice = Callable[[str], str]


pytestmark = [pytest.mark.backends("noiommu"), pytest.mark.smoke]


@pytest.fixture(autouse=True)
def _backend(backend: str) -> str:
    """Has every test run where there is this back end."""
    return backend


def test_memory_is_where_the_device_is_told(lab_device: GetDevice) -> None:
    with (
        open_device(lab_device("nvme")) as nvme,
        nvme.dma.alloc(PAGE) as submissions,
        nvme.dma.alloc(PAGE) as completions,
        nvme.dma.alloc(PAGE) as target,
    ):
        assert nvme.dma.mappings == tuple(
            sorted(Interval.sized(b.iova, PAGE) for b in (submissions, completions, target))
        )
        assert identify(nvme, submissions, completions, target.iova)
        assert int.from_bytes(target.view[:2], "little") == 0x1B36


def test_more_than_a_page_is_of_huge_pages(lab_device: GetDevice) -> None:
    with open_device(lab_device("nvme")) as nvme:
        with (
            written(HUGE_PAGES, 0),
            pytest.raises(DeviceError, match=r"takes 1 free pages and there are 0: echo 1"),
        ):
            nvme.dma.alloc(2 * PAGE)
        with written(HUGE_PAGES, 2), nvme.dma.alloc(3 * PAGE) as buffer:
            assert buffer.iova % (2 << 20) == 0
            submissions, completions = buffer[:PAGE], buffer[PAGE : 2 * PAGE]
            assert identify(nvme, submissions, completions, buffer.iova + 2 * PAGE)
            assert int.from_bytes(buffer.view[2 * PAGE : 2 * PAGE + 2], "little") == 0x1B36


def test_no_guest_gets_it(lab_device: GetDevice) -> None:
    with open_space("noiommu") as space, space.open_device(lab_device("edu")):
        with (
            SharedMemory(PAGE) as memory,
            pytest.raises(DeviceError, match=r"no guest can have it: assign it on a host with"),
        ):
            space.map(0, PAGE, address=memory.mapping.address)
        with pytest.raises(DeviceError, match="leave iova out"):
            space.alloc(PAGE, iova=0x10000)
        with pytest.raises(DeviceError, match=r"ENOSPC.*not below 0x1000"):
            space.alloc(PAGE, below=0x1000)
        assert space.mappings == ()
