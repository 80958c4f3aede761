# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA logging and its bitmaps. No device at hand can."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.dirty_bitmap import bitmap_words, dirty_ranges, pack_dirty
from pyvmm.vfio.features import Feature
from pyvmm.vfio.intervals import merge
from pyvmm.vfio.kernel.dma_logging import KernelDmaLogging
from pyvmm.vfio.kernel.features import KernelFeatures
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import FakeKernel

PAGE = 4096


@given(pages=st.sets(st.integers(0, 299)), start=st.integers(0, 2**20), size=st.integers(1, 300))
def test_dirty_ranges(pages: set[int], start: int, size: int) -> None:
    within = Interval.sized(start * PAGE, size * PAGE)
    words = bitmap_words(within, PAGE)
    assert len(words) * 64 >= size
    for page in pages:
        if page < size:
            words[page // 64] |= 1 << page % 64
    dirty = merge(Interval.sized(within.start + p * PAGE, PAGE) for p in pages if p < size)
    assert dirty_ranges(words, within, PAGE) == dirty
    assert pack_dirty(dirty, within, PAGE) == bytes(words)


def test_the_last_page_may_be_a_part() -> None:
    within = Interval(PAGE, 3 * PAGE + 5)
    words = bitmap_words(within, PAGE)
    words[0] = 0xFFFF_FFFF_FFFF_FFFF
    assert dirty_ranges(words, within, PAGE) == (within,)


class Log:
    """The kernel's side: what it was told to note, and one page to report."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] | None = None

    def handler(self, data: memoryview) -> None:
        feature, body = int.from_bytes(data[4:6], "little"), data[8:]
        if int.from_bytes(data[4:8], "little") & vfio.VFIO_DEVICE_FEATURE_PROBE:
            return
        if feature == Feature.DMA_LOGGING_START:
            if self.ranges is not None:
                raise OSError(errno.EALREADY, "")
            control = vfio.vfio_device_feature_dma_logging_control.from_buffer(body)
            table = ctypes.string_at(control.ranges, 16 * control.num_ranges)
            self.ranges = [(iova, length) for iova, length in struct.iter_unpack("=QQ", table)]
            control.page_size = 2 * PAGE
        elif self.ranges is None:
            raise OSError(errno.EINVAL, "")
        elif feature == Feature.DMA_LOGGING_STOP:
            self.ranges = None
        elif feature == Feature.DMA_LOGGING_REPORT:
            report = vfio.vfio_device_feature_dma_logging_report.from_buffer(body)
            assert (report.iova, report.length, report.page_size) == (0x100000, 0x80000, PAGE)
            ctypes.memset(report.bitmap + 8, 0b110, 1)


def test_a_log_from_start_to_stop(kernel: FakeKernel, file: KernelFile) -> None:
    log = Log()
    kernel.on("VFIO_DEVICE_FEATURE", log.handler)
    logging = KernelDmaLogging(KernelFeatures(file))
    ranges = [Interval(0x100000, 0x180000), Interval(1 << 40, 1 << 41)]
    assert logging.start(ranges, PAGE) == 2 * PAGE
    assert log.ranges == [(0x100000, 0x80000), (1 << 40, 1 << 40)]
    with pytest.raises(DeviceError, match="stop the log that is running"):
        logging.start(ranges)
    first = 0x100000 + 65 * PAGE
    assert logging.report(ranges[0], PAGE) == (Interval(first, first + 2 * PAGE),)
    logging.stop()
    with pytest.raises(DeviceError, match="it isn't running"):
        logging.report(ranges[0], PAGE)


@pytest.mark.parametrize("page_size", [0, -1, 3, 1 << 64])
def test_page_sizes_that_make_no_sense(
    kernel: FakeKernel, file: KernelFile, page_size: int
) -> None:
    kernel.on("VFIO_DEVICE_FEATURE", Log().handler)
    logging = KernelDmaLogging(KernelFeatures(file))
    kernel.calls.clear()
    with pytest.raises(DeviceError, match="page_size"):
        logging.report(Interval(0, PAGE), page_size)
    with pytest.raises(DeviceError, match="page_size"):
        logging.start([Interval(0, PAGE)], page_size)
    assert not kernel.calls


def test_a_device_without_a_log(file: KernelFile) -> None:
    with pytest.raises(DeviceError, match="its IOMMU may do it instead") as caught:
        KernelDmaLogging(KernelFeatures(file))
    assert caught.value.errno == errno.ENOTTY
