# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The IOVA table of a software device: what DMA reaches, what it doesn't, and when it ends."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import DeviceError, DmaFault
from pyvmm.vfio.mapping import Mapping
from pyvmm.vfio.software import DmaTable, dma_memory
from pyvmm.vfio.software.remote_memory import Check
from tests.unit.vfio.fakes import PATIENCE

PAGE = 4096


def memfd(pages: int, *, sealed: bool = True) -> int:
    fd = os.memfd_create("dma", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, pages * PAGE)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


@pytest.fixture
def table() -> Iterator[DmaTable]:
    table = DmaTable()
    yield table
    table.close()


@pytest.fixture(params=[True, False], ids=["sealed", "unsealed"])
def fd(request: pytest.FixtureRequest) -> Iterator[int]:
    fd = memfd(4, sealed=request.param)
    yield fd
    os.close(fd)


class Far:
    """Memory that is reached by calls."""

    awaited = False

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.max_size = size

    def read(self, iova: int, size: int, check: Check) -> bytes:
        assert size <= self.max_size
        check(iova, size)
        return bytes(self.data[iova : iova + size])

    def write(self, iova: int, data: bytes | memoryview, check: Check) -> None:
        assert len(data) <= self.max_size
        check(iova, len(data))
        self.data[iova : iova + len(data)] = data


class Slow(Far):
    """Remote memory whose reads take until somebody says so."""

    def __init__(self, size: int, reading: threading.Event, go_on: threading.Event) -> None:
        super().__init__(size)
        self.reading = reading
        self.go_on = go_on

    def read(self, iova: int, size: int, check: Check) -> bytes:
        self.reading.set()
        assert self.go_on.wait(PATIENCE)
        return super().read(iova, size, check)


def test_a_file(table: DmaTable, fd: int) -> None:
    table.map(0x10000, 2 * PAGE, address=0, fd=fd, offset=PAGE)
    os.close(os.dup(fd))
    table.write(0x10000 + 10, b"hello")
    assert os.pread(fd, 5, PAGE + 10) == b"hello"
    os.pwrite(fd, b"world", 3 * PAGE - 5)
    assert table.read(0x10000 + 2 * PAGE - 5, 5) == b"world"
    assert table.read(0x10000, 0) == b""


def test_the_caller_may_close_its_fd(table: DmaTable) -> None:
    for i, sealed in enumerate((True, False)):
        fd = memfd(1, sealed=sealed)
        table.map(i * PAGE, PAGE, address=0, fd=fd)
        os.close(fd)
        table.write(i * PAGE, b"still here")
        assert table.read(i * PAGE, 10) == b"still here"


def test_an_offset_within_a_page(table: DmaTable, fd: int) -> None:
    table.map(0x800, 0x1000, address=0, fd=fd, offset=0x800)
    table.write(0x800, b"first")
    table.write(0x17FB, b"last!")
    assert os.pread(fd, 5, 0x800) == b"first"
    assert os.pread(fd, 5, 0x17FB) == b"last!"


@pytest.mark.parametrize(
    ("iova", "size"),
    [
        (0xFFFF, 1),
        (0xFFFF, 2),
        (0x12000, 1),
        (0x11FFF, 2),
        (0, 1),
        (1 << 64, 1),
        (0x10000, 1 << 64),
    ],
)
def test_nothing_else_is_reached(table: DmaTable, fd: int, iova: int, size: int) -> None:
    table.map(0x10000, 2 * PAGE, address=0, fd=fd)
    with pytest.raises(DmaFault, match="not mapped") as caught:
        table.read(iova, size)
    assert (caught.value.iova, caught.value.size) == (iova, size)
    with pytest.raises(DmaFault), table.view(iova, size):
        pass
    if size < 100:
        with pytest.raises(DmaFault):
            table.write(iova, bytes(size))


def test_read_only(table: DmaTable, fd: int) -> None:
    os.pwrite(fd, b"rom", 0)
    table.map(0, PAGE, address=0, fd=fd, writable=False)
    assert table.read(0, 3) == b"rom"
    with pytest.raises(DmaFault, match="read-only"):
        table.write(0, b"x")
    with pytest.raises(DmaFault, match="read-only"), table.view(0, 3, write=True):
        pass
    with table.view(0, 3) as view:
        assert view is None or view.readonly
    assert os.pread(fd, 3, 0) == b"rom"


def test_a_write_that_cannot_all_be_done_is_not_begun(table: DmaTable, fd: int) -> None:
    table.map(0, PAGE, address=0, fd=fd)
    table.map(PAGE, PAGE, address=0, fd=fd, offset=PAGE, writable=False)
    with pytest.raises(DmaFault):
        table.write(PAGE - 2, b"four")
    assert os.pread(fd, 2, PAGE - 2) == b"\0\0"


def test_across_adjoining_mappings_of_all_kinds(table: DmaTable) -> None:
    sealed, unsealed, far = memfd(1), memfd(1, sealed=False), Far(4 * PAGE)
    host = (ctypes.c_ubyte * PAGE)()
    table.map(0, PAGE, address=0, fd=sealed)
    table.map(PAGE, PAGE, address=0, fd=unsealed)
    table.map(2 * PAGE, PAGE, address=ctypes.addressof(host))
    table.map_remote(3 * PAGE, PAGE, far)
    data = bytes(i * 7 & 0xFF for i in range(4 * PAGE - 20))
    table.write(10, data)
    assert table.read(10, len(data)) == data
    assert bytes(host) == data[2 * PAGE - 10 : 3 * PAGE - 10]
    assert bytes(far.data[3 * PAGE : 4 * PAGE - 10]) == data[3 * PAGE - 10 :]
    with table.view(10, len(data)) as view:
        assert view is None
    os.close(sealed)
    os.close(unsealed)


def test_a_view_is_the_memory_itself(table: DmaTable) -> None:
    fd = memfd(2)
    table.map(0x4000, 2 * PAGE, address=0, fd=fd)
    with table.view(0x4100, 4, write=True) as view:
        assert view is not None
        view[:] = b"view"
    assert os.pread(fd, 4, 0x100) == b"view"
    os.close(fd)


def test_no_view_of_what_may_vanish(table: DmaTable) -> None:
    fd = memfd(1, sealed=False)
    host = (ctypes.c_ubyte * PAGE)()
    table.map(0, PAGE, address=0, fd=fd)
    table.map(PAGE, PAGE, address=ctypes.addressof(host))
    for iova in (0, PAGE):
        with table.view(iova, 4) as view:
            assert view is None
    os.close(fd)


def test_a_file_that_is_truncated_later_faults_and_kills_nobody(table: DmaTable) -> None:
    fd = memfd(4, sealed=False)
    table.map(0x8000, 4 * PAGE, address=0, fd=fd)
    os.ftruncate(fd, PAGE)
    with pytest.raises(DmaFault, match=r"IOVA 0xa000.*truncated"):
        table.read(0xA000, 8)
    table.write(0xA000, b"harmless")
    os.close(fd)


def test_memory_of_ours_that_vanishes_faults_and_kills_nobody(table: DmaTable) -> None:
    """As huge pages do when a peer that has their file takes them away."""
    fd = memfd(2, sealed=False)
    with Mapping(fd, 0, 2 * PAGE) as mapping:
        table.map(0x8000, 2 * PAGE, address=mapping.address)
        table.write(0x8FFE, b"both")
        assert table.read(0x8FFE, 4) == b"both"
        os.ftruncate(fd, PAGE)
        with pytest.raises(DmaFault, match=r"0x8ffe\+0x4: Bad address"):
            table.read(0x8FFE, 4)
        with pytest.raises(DmaFault, match=r"0x9000\+0x4: Bad address"):
            table.write(0x9000, b"nope")
    os.close(fd)


def test_huge_pages_are_not_touched(monkeypatch: pytest.MonkeyPatch, table: DmaTable) -> None:
    """No seal keeps them, so they are copied from and to; an ordinary file stands in for theirs."""
    monkeypatch.setattr(dma_memory, "_is_hugetlb", lambda fd: True)
    fd = memfd(4)
    table.map(0x8000, PAGE, address=0, fd=fd, offset=PAGE + 8)
    table.map(0x10000, PAGE, address=0, fd=fd, offset=PAGE, writable=False)
    table.write(0x8000, b"huge")
    assert os.pread(fd, 4, PAGE + 8) == b"huge"
    assert table.read(0x10008, 4) == table.read(0x8000, 4) == b"huge"
    for iova in (0x8000, 0x10000):
        with table.view(iova, 4) as view:
            assert view is None
    os.close(fd)


@pytest.mark.parametrize(
    ("iova", "size", "offset", "number"),
    [
        (0, 0, 0, errno.EINVAL),
        (0, 5 * PAGE, 0, errno.EINVAL),
        (0, 4 * PAGE, 1, errno.EINVAL),
        (0, PAGE, 1 << 63, errno.EINVAL),
        (0, PAGE, (1 << 64) - PAGE, errno.EINVAL),
        ((1 << 64) - PAGE, 2 * PAGE, 0, errno.EINVAL),
        (-PAGE, PAGE, 0, errno.EINVAL),
        (0x10000, PAGE, 0, errno.EEXIST),
        (0x10FFF, PAGE, 0, errno.EEXIST),
        (0xF001, PAGE, 0, errno.EEXIST),
        (0xF000, 4 * PAGE, 0, errno.EEXIST),
    ],
)
def test_what_cannot_be_mapped(
    table: DmaTable, fd: int, iova: int, size: int, offset: int, number: int
) -> None:
    table.map(0x10000, PAGE, address=0, fd=fd)
    with pytest.raises(DeviceError, match="mapping IOVA") as caught:
        table.map(iova, size, address=0, fd=fd, offset=offset)
    assert caught.value.errno == number


def test_the_highest_page_can_be_mapped(table: DmaTable, fd: int) -> None:
    table.map((1 << 64) - PAGE, PAGE, address=0, fd=fd)
    table.write((1 << 64) - 3, b"end")
    assert table.read((1 << 64) - 3, 3) == b"end"
    with pytest.raises(DmaFault):
        table.read((1 << 64) - 3, 4)


def test_files_that_are_not_memory(table: DmaTable, tmp_path: object) -> None:
    reader, writer = os.pipe()
    readable = os.open(f"{tmp_path}/file", os.O_RDONLY | os.O_CREAT)
    os.truncate(f"{tmp_path}/file", PAGE)
    for fd, number in (
        (reader, errno.EINVAL),
        (writer, errno.EINVAL),
        (readable, errno.EACCES),
        (12345, errno.EBADF),
    ):
        with pytest.raises(DeviceError) as caught:
            table.map(0, PAGE, address=0, fd=fd)
        assert caught.value.errno == number
    table.map(0, PAGE, address=0, fd=readable, writable=False)
    for fd in (reader, writer, readable):
        os.close(fd)


def test_unmap_takes_exactly_a_mapping(table: DmaTable, fd: int) -> None:
    table.map(0, PAGE, address=0, fd=fd)
    table.map(PAGE, PAGE, address=0, fd=fd, offset=PAGE)
    for iova, size in ((0, 2 * PAGE), (0, PAGE // 2), (1, PAGE - 1), (2 * PAGE, PAGE)):
        with pytest.raises(DeviceError) as caught:
            table.unmap(iova, size)
        assert caught.value.errno == errno.ENOENT
    table.unmap(0, PAGE)
    with pytest.raises(DmaFault):
        table.read(0, 1)
    table.map(0, PAGE, address=0, fd=fd)
    assert table.read(PAGE, 1) == b"\0"


def test_there_is_an_end_to_mappings(table: DmaTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.vfio.software.dma_table.MAX_MAPPINGS", 2)
    host = (ctypes.c_ubyte * PAGE)()
    table.map(0, 1, address=ctypes.addressof(host))
    table.map(1, 1, address=ctypes.addressof(host))
    with pytest.raises(DeviceError) as caught:
        table.map(2, 1, address=ctypes.addressof(host))
    assert caught.value.errno == errno.ENOSPC


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("wait", [lambda table: table.unmap(0, PAGE), DmaTable.drain])
def test_a_view_is_waited_for(table: DmaTable, wait: Callable[[DmaTable], None]) -> None:
    fd = memfd(1)
    table.map(0, PAGE, address=0, fd=fd)
    begun, done = threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        wait(table)
        done.set()

    with table.view(0, PAGE, write=True) as view:
        thread = in_thread(run)
        assert begun.wait(PATIENCE)
        assert not done.is_set()
        assert view is not None
        view[:4] = b"last"
        assert not done.is_set()
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)
    assert os.pread(fd, 4, 0) == b"last"
    os.close(fd)


def test_a_view_that_is_kept_outlives_its_mapping(table: DmaTable) -> None:
    fd = memfd(1)
    table.map(0, PAGE, address=0, fd=fd)
    with table.view(0, PAGE, write=True) as view:
        pass
    table.unmap(0, PAGE)
    assert view is not None
    view[:4] = b"late"  # safe: the pages go with the view
    assert os.pread(fd, 4, 0) == b"late"
    os.close(fd)


@pytest.mark.parametrize("fd", [-1, 0])
def test_write_only(table: DmaTable, fd: int) -> None:
    host = (ctypes.c_ubyte * PAGE)()
    if fd < 0:
        table.map(0, PAGE, address=ctypes.addressof(host), readable=False)
    else:
        file = memfd(1, sealed=False)
        only = os.open(f"/proc/self/fd/{file}", os.O_WRONLY)
        table.map(0, PAGE, address=0, fd=only, readable=False)
        os.close(only)
        os.close(file)
    table.write(8, b"in")
    with pytest.raises(DmaFault, match="write-only"):
        table.read(8, 2)
    with pytest.raises(DmaFault, match="write-only"), table.view(8, 2):
        pass


def test_each_piece_is_checked_first(table: DmaTable) -> None:
    """Pieces end where mappings do, and where a message is full."""
    host, far = (ctypes.c_ubyte * PAGE)(), Far(2 * PAGE)
    far.max_size = PAGE - 1
    table.map(0, PAGE, address=ctypes.addressof(host))
    table.map_remote(PAGE, PAGE, far)
    asked: list[tuple[int, int]] = []
    allowed = 0

    def check(iova: int, size: int) -> None:
        if len(asked) == allowed:
            raise DmaFault(iova, size, "no more")
        asked.append((iova, size))

    data = bytes(range(1, 9)) + b"x" * (PAGE - 1) + b"y"
    whole = [
        (PAGE - 8, len(data)),
        (PAGE - 8, 8),
        *[(PAGE, PAGE - 1)] * 2,
        *[(2 * PAGE - 1, 1)] * 2,
    ]
    for allowed, got in ((0, 0), (1, 0), (2, 8), (3, 8), (4, len(data) - 1), (6, len(data))):
        asked.clear()
        far.data[:] = bytes(2 * PAGE)
        ctypes.memset(host, 0, PAGE)
        with pytest.raises(DmaFault, match="no more") if allowed < 6 else contextlib.nullcontext():
            table.write(PAGE - 8, data, check)
        assert asked == whole[:allowed]
        there = bytes(host[PAGE - 8 :]) + bytes(far.data[PAGE:])
        assert there == data[:got] + bytes(len(data) - got)
    asked.clear()
    assert table.read(PAGE - 8, len(data), check) == data
    assert asked == whole


def test_unmapping_memory_does_not_wait_for_messages_of_the_same_access(table: DmaTable) -> None:
    reading, go_on = threading.Event(), threading.Event()
    host = (ctypes.c_ubyte * PAGE)()
    table.map(0, PAGE, address=ctypes.addressof(host))
    table.map_remote(PAGE, PAGE, Slow(2 * PAGE, reading, go_on))
    thread = in_thread(lambda: table.read(PAGE - 4, 8))
    assert reading.wait(PATIENCE)
    table.drain()
    table.unmap(0, PAGE)
    go_on.set()
    thread.join(PATIENCE)


def test_unmap_does_not_wait_for_a_read_by_message(table: DmaTable) -> None:
    reading, go_on = threading.Event(), threading.Event()
    table.map_remote(0, PAGE, Slow(PAGE, reading, go_on))
    thread = in_thread(lambda: table.read(0, 4))
    assert reading.wait(PATIENCE)
    table.unmap(0, PAGE)
    go_on.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_unmap_and_drain_wait_for_messages_that_go_a_way_of_their_own(table: DmaTable) -> None:
    reading, go_on = threading.Event(), threading.Event()
    far = Slow(PAGE, reading, go_on)
    far.awaited = True
    table.map_remote(0, PAGE, far)
    reader = in_thread(lambda: table.read(0, 4))
    assert reading.wait(PATIENCE)
    waiting = [in_thread(table.drain), in_thread(lambda: table.unmap(0, PAGE))]
    for thread in waiting:
        thread.join(0.05)
        assert thread.is_alive()
    go_on.set()
    for thread in (reader, *waiting):
        thread.join(PATIENCE)
        assert not thread.is_alive()


operations = st.lists(
    st.one_of(
        st.tuples(st.just("map"), st.integers(0, 12), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("unmap"), st.integers(0, 12), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("write"), st.integers(0, 16), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("read"), st.integers(0, 16), st.integers(1, 6), st.booleans()),
    ),
    max_size=30,
)


@given(operations)
def test_it_behaves_like_a_dictionary_of_bytes(steps: list[tuple[str, int, int, bool]]) -> None:
    """Against a model: one entry for each mapped IOVA, of file offset and writability."""
    unit = 256
    fd = memfd(2)
    table = DmaTable()
    mapped: dict[tuple[int, int], bool] = {}
    memory: dict[int, tuple[bool, int]] = {}
    content = bytearray(2 * PAGE)
    try:
        for step, (kind, at, units, flag) in enumerate(steps):
            iova, size = at * unit, units * unit
            covered = range(iova, iova + size)
            if kind == "map":
                if any(i in memory for i in covered):
                    with pytest.raises(DeviceError, match="EEXIST"):
                        table.map(iova, size, address=0, fd=fd, offset=iova)
                    continue
                table.map(iova, size, address=0, fd=fd, offset=iova, writable=flag)
                mapped[iova, size] = flag
                memory.update((i, (flag, i)) for i in covered)
            elif kind == "unmap":
                if mapped.pop((iova, size), None) is None:
                    with pytest.raises(DeviceError):
                        table.unmap(iova, size)
                    continue
                table.unmap(iova, size)
                for i in covered:
                    del memory[i]
            elif kind == "write":
                data = bytes([step + 1]) * size
                allowed = all(memory.get(i, (False, 0))[0] for i in covered)
                if allowed:
                    table.write(iova, data)
                    content[iova : iova + size] = data
                else:
                    with pytest.raises(DmaFault):
                        table.write(iova, data)
            elif all(i in memory for i in covered):
                assert table.read(iova, size) == content[iova : iova + size]
            else:
                with pytest.raises(DmaFault):
                    table.read(iova, size)
    finally:
        table.close()
        os.close(fd)
