# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA between files and memory: any segments, to their ends and no further, mapped or not."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.models import Identity, Model, file_dma
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import Device, DmaFault

Memory = Callable[[Device, int, int], mmap.mmap]
Segments = Sequence[tuple[int, int]]
SIZE = 0x10000
CONTENT = bytes(range(251)) * (SIZE // 251 + 1)


class Mover(Model):
    identity = Identity(0x1234, 0x0001, class_code=0xFF0000)

    def __init__(self) -> None:
        super().__init__()
        self.region_write(
            VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, PCI_COMMAND_MASTER.to_bytes(2, "little")
        )

    def do(self, move: Callable[[], int]) -> int | Exception:
        """What `move` returns or raises, as work."""
        results: list[int | Exception] = []
        done = threading.Event()

        def work() -> None:
            try:
                results.append(move())
            except (OSError, DmaFault) as error:
                results.append(error)
            done.set()

        self.start(work)
        assert done.wait(30)
        return results[0]


@pytest.fixture
def mover() -> Iterator[Mover]:
    with Mover() as mover:
        yield mover


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("file", os.MFD_CLOEXEC)
    os.write(fd, CONTENT[:SIZE])
    yield fd
    os.close(fd)


@given(
    st.lists(st.tuples(st.integers(0, SIZE - 0x1000), st.integers(1, 0x1000)), max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_there_and_back(segments: Segments, sealed: bool, straight: bool) -> None:
    """Sealed memory is mapped, and other is read and written by system calls."""
    guest = os.memfd_create("guest", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(guest, SIZE)
    if sealed:
        fcntl.fcntl(guest, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    source, target = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("source", "target"))
    os.write(source, CONTENT[:SIZE])
    expected, at = bytearray(SIZE), 100
    for iova, size in segments:
        expected[iova : iova + size] = CONTENT[at : at + size]
        at += size
    total = at - 100
    with Mover() as mover, mmap.mmap(guest, SIZE) as pages:
        mover.dma.map(0x40000, SIZE, address=0, fd=guest)
        place = [(0x40000 + iova, size) for iova, size in segments]
        move = partial(mover.dma_from_file, straight=straight)
        assert mover.do(lambda: move(source, 100, place)) == total
        assert pages[:] == expected
        move = partial(mover.dma_to_file, straight=straight)
        assert mover.do(lambda: move(target, 7, place)) == total
        shown = b"".join(expected[iova : iova + size] for iova, size in segments)
        assert os.pread(target, SIZE, 7) == shown
    for fd in (guest, source, target):
        os.close(fd)


@pytest.mark.parametrize("straight", [True, False])
def test_more_segments_than_one_system_call_takes(
    mover: Mover, file: int, memory: Memory, straight: bool
) -> None:
    pages = memory(mover, 0, SIZE)
    segments = [(at, 16) for at in range(0, SIZE, 16)]
    move = partial(mover.dma_from_file, straight=straight)
    assert mover.do(lambda: move(file, 0, segments)) == SIZE
    assert pages[:] == CONTENT[:SIZE]


@pytest.mark.parametrize("straight", [True, False])
def test_more_bytes_than_move_at_a_time(mover: Mover, memory: Memory, straight: bool) -> None:
    size = 2 * file_dma.CHUNK + 0x3000
    pages = memory(mover, 0, 2 * size)
    content = os.urandom(size)
    with open(os.memfd_create("file", os.MFD_CLOEXEC), "r+b") as file:
        file.write(content)
        file.flush()
        fd = file.fileno()
        segments = [(0x1000, 0x800), (0x10000, size - 0x800)]
        assert mover.do(lambda: mover.dma_from_file(fd, 0, segments, straight=straight)) == size
        assert pages[0x1000:0x1800] + pages[0x10000 : 0x10000 + size - 0x800] == content
        assert mover.do(lambda: mover.dma_to_file(fd, 512, segments, straight=straight)) == size
        assert os.pread(fd, size, 512) == content


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("pieces", [1, 2])
def test_the_end_of_the_file(
    mover: Mover, file: int, memory: Memory, pieces: int, straight: bool
) -> None:
    pages = memory(mover, 0, 0x2000)
    segments = [(at * 0x1000, 0x2000 // pieces) for at in range(pieces)]
    move = partial(mover.dma_from_file, straight=straight)
    assert mover.do(lambda: move(file, SIZE - 0x1800, segments)) == 0x1800
    assert pages[:] == CONTENT[SIZE - 0x1800 : SIZE] + bytes(0x800)
    assert mover.do(lambda: move(file, SIZE, segments)) == 0


@pytest.mark.parametrize("straight", [True, False])
def test_memory_that_is_not_there(mover: Mover, file: int, memory: Memory, straight: bool) -> None:
    memory(mover, 0, 0x1000)
    for segments in ([(0x5000, 16)], [(0, 16), (0x5000, 16)]):
        for move in (mover.dma_from_file, mover.dma_to_file):
            moved = mover.do(partial(move, file, 0, segments, straight=straight))
            assert isinstance(moved, DmaFault)
    assert os.pread(file, SIZE, 0) == CONTENT[:SIZE], "nothing moves unless all of a chunk can"
    mover.region_write(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, bytes(2))
    assert isinstance(mover.do(lambda: mover.dma_to_file(file, 0, [(0, 16)])), DmaFault)


@pytest.mark.parametrize("to_file", [True, False])
def test_nobody_waits_for_a_file_that_does(
    mover: Mover, file: int, memory: Memory, monkeypatch: pytest.MonkeyPatch, to_file: bool
) -> None:
    """A reset and an unmap, while a disk takes its time."""
    memory(mover, 0, 0x1000)
    begun, go_on = threading.Event(), threading.Event()

    def stuck(*_: object) -> int:
        begun.set()
        assert go_on.wait(30)
        return 0x1000

    def reset_and_unmap() -> None:
        mover.reset()
        mover.dma.unmap(0, 0x1000)

    monkeypatch.setattr(os, "pwritev" if to_file else "preadv", stuck)
    move = mover.dma_to_file if to_file else mover.dma_from_file
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(mover.do, lambda: move(file, 0, [(0, 0x1000)]))
        try:
            assert begun.wait(30)
            others = threading.Thread(target=reset_and_unmap, daemon=True)
            others.start()
            others.join(10)
            assert not others.is_alive()
        finally:
            go_on.set()
        moved = moving.result()
    assert to_file or isinstance(moved, DmaFault), "nothing is written after a reset"


def test_a_file_that_fails(mover: Mover, memory: Memory) -> None:
    memory(mover, 0, 0x1000)
    assert isinstance(mover.do(lambda: mover.dma_to_file(-1, 0, [(0, 16)])), OSError)
