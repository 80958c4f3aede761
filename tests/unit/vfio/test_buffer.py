# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaBuffer: one memory, seen by its bytes and by its IOVAs; and how it ends."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError
from pyvmm.vfio.buffer import DmaBuffer, SharedMemory

PAGE = 4096
IOVA = 0x10_0000


@pytest.fixture
def unmapped() -> list[str]:
    return []


@pytest.fixture
def buffer(unmapped: list[str]) -> Iterator[DmaBuffer]:
    with SharedMemory(2 * PAGE - 16) as memory:
        memory.close_file()
        with DmaBuffer(memory.mapping, IOVA, 2 * PAGE - 16, lambda: unmapped.append("x")) as buffer:
            yield buffer


def test_the_bytes_and_their_iova(buffer: DmaBuffer) -> None:
    assert (buffer.iova, buffer.size, len(buffer)) == (IOVA, 2 * PAGE - 16, 2 * PAGE - 16)
    assert len(buffer.view) == buffer.size
    buffer.view[:5] = b"hello"
    assert ctypes.string_at(buffer.address, 5) == b"hello"
    assert bytes(buffer.view[5:10]) == bytes(5)


def test_slices(buffer: DmaBuffer) -> None:
    part = buffer[0x40:0x80]
    assert (part.iova, part.size, part.address) == (IOVA + 0x40, 0x40, buffer.address + 0x40)
    part.view[0] = 7
    assert buffer.view[0x40] == 7
    inner = part.slice(0x10, 8)
    assert (inner.iova, inner.size) == (IOVA + 0x50, 8)
    end = buffer[-16:]
    assert (end.iova, end.size) == (IOVA + buffer.size - 16, 16)
    assert buffer[:16].iova == IOVA
    assert buffer[:].size == buffer.size
    assert repr(part) == "DmaSlice(iova=0x100040, size=0x40)"


@pytest.mark.parametrize(
    "part",
    [slice(0, 2 * PAGE), slice(0x80, 0x40), slice(2 * PAGE, 2 * PAGE + 1), slice(-3 * PAGE, 5)],
)
def test_no_slice_of_what_is_not_there(buffer: DmaBuffer, part: slice) -> None:
    # Other than with bytes, where a slice is cut short: the device would be told too much.
    with pytest.raises(ValueError, match="not within"):
        buffer[part]


def test_single_bytes_are_in_the_view(buffer: DmaBuffer) -> None:
    for wrong in (slice(0, 8, 2), 0):
        with pytest.raises(TypeError, match="view"):
            buffer[wrong]  # type: ignore[index]


def test_close(buffer: DmaBuffer, unmapped: list[str]) -> None:
    part = buffer[:8]
    view = buffer.view
    buffer.close()
    buffer.close()
    assert unmapped == ["x"]
    with pytest.raises(ValueError, match="closed"):
        _ = buffer.view
    with pytest.raises(ValueError, match="closed"):
        _ = part.view
    view[0] = 1  # what is held stays


def test_memory_is_let_go_even_if_unmapping_fails() -> None:
    def fail() -> None:
        raise DeviceError("no", errno.EBUSY)

    with SharedMemory(PAGE) as memory:
        buffer = DmaBuffer(memory.mapping, 0, PAGE, fail)
        with pytest.raises(DeviceError, match="no"):
            buffer.close()
        with pytest.raises(ValueError, match="closed"):
            _ = buffer.view


def test_its_file_cannot_be_truncated() -> None:
    with SharedMemory(100) as memory:
        assert os.fstat(memory.fd).st_size == PAGE == memory.mapping.size
        for size in (0, 2 * PAGE):
            with pytest.raises(PermissionError):
                os.ftruncate(memory.fd, size)


def test_refusals() -> None:
    for size in (0, -5, 1 << 63):
        with pytest.raises(DeviceError, match=f"allocating {size:#x} bytes .*EINVAL"):
            SharedMemory(size)
    with pytest.raises(DeviceError, match="give '2M' or '1G'"):
        SharedMemory(PAGE, "4M")  # type: ignore[arg-type]


def test_huge_pages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cure names the pool and the number, whatever this host has."""
    with pytest.raises(DeviceError, match=r"in pages of 1G: .*(nr_hugepages|no huge pages)"):
        SharedMemory(1 << 50, "1G")
