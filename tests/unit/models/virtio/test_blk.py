# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-blk, request by request."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.models import ModelError
from pyvmm.models.virtio import VirtioBlk, blk
from pyvmm.models.virtio.blk import DISCARD, FLUSH, GET_ID, IN, IOERR, OK, OUT, UNSUPP, WRITE_ZEROES
from pyvmm.models.virtio.pci import NEEDS_RESET

from .driver import DATA, LIMIT, MEMORY, Driver, Segment

HEADER, STATUS = DATA - 0x100, DATA - 1
SECTORS = (1 << 20) // 512


class Drive:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.memory = driver.memory
        driver.start(blk.FLUSHES)

    def run(
        self,
        kind: int,
        sector: int = 0,
        readable: list[Segment] | None = None,
        writable: list[Segment] | None = None,
    ) -> tuple[int, int]:
        """A request's status, and the bytes written."""
        struct.pack_into("<IIQ", self.memory, HEADER, kind, 0, sector)
        self.memory[STATUS] = 0xEE
        written = self.driver.run(
            [(HEADER, 16), *(readable or [])], [*(writable or []), (STATUS, 1)]
        )
        return self.memory[STATUS], written


@pytest.fixture
def drive() -> Iterator[Drive]:
    with Driver(VirtioBlk(size=1 << 20)) as driver:
        yield Drive(driver)
        assert not [kind for kind in driver.model.counters if kind.endswith("in the model")]


def test_configuration(drive: Drive) -> None:
    read = drive.driver.read
    assert read(0x2000, 8) == SECTORS
    assert read(0x2014, 4) == 512
    assert read(0x2008, 4) == 256 << 10
    assert read(0x200C, 4) == 254
    assert (read(0x2028, 4), read(0x2034, 4)) == (16, 1)
    assert read(0x2038, 1) == 1
    assert read(0x2FFC, 4) == 0


def test_there_and_back(drive: Drive) -> None:
    content = os.urandom(4096)
    drive.memory[DATA : DATA + 4096] = content
    assert drive.run(OUT, 10, [(DATA, 1000), (DATA + 1000, 3096)]) == (OK, 1)
    target = DATA + 0x2000
    assert drive.run(IN, 10, writable=[(target, 4000), (target + 4000, 96)]) == (OK, 4097)
    assert drive.memory[target : target + 4096] == content
    assert drive.run(FLUSH) == (OK, 1)


@pytest.mark.parametrize(
    ("sector", "size"),
    [(SECTORS, 512), (SECTORS - 1, 1024), ((1 << 64) - 1, 512), (0, 500), (1 << 63, 512)],
)
def test_sectors_that_there_are_not(drive: Drive, sector: int, size: int) -> None:
    assert drive.run(IN, sector, writable=[(DATA, size)]) == (IOERR, 1)
    assert drive.run(OUT, sector, [(DATA, size)]) == (IOERR, 1)
    assert drive.run(IN, SECTORS - 1, writable=[(DATA, 512)]) == (OK, 513)


def test_memory_that_is_not_there(drive: Drive) -> None:
    assert drive.run(IN, 0, writable=[(MEMORY, 512)]) == (IOERR, 1)
    assert drive.run(OUT, 0, [(MEMORY - 256, 512)]) == (IOERR, 1)


def test_its_id(drive: Drive) -> None:
    assert drive.run(GET_ID, writable=[(DATA, 20)]) == (OK, 21)
    assert drive.memory[DATA : DATA + 6] == b"pyvmm-"
    assert drive.run(GET_ID, writable=[(DATA, 4)]) == (OK, 5)


def test_zeroes_and_discards(drive: Drive) -> None:
    fd = drive.driver.model.backing.fd  # type: ignore[attr-defined]
    for kind, flags in ((WRITE_ZEROES, 0), (WRITE_ZEROES, 1), (DISCARD, 0)):
        os.pwrite(fd, b"\x11" * 4096, 0)
        for sector, count in ((1, 2), (5, 1)):
            struct.pack_into("<QII", drive.memory, DATA, sector, count, flags)
            assert drive.run(kind, 0, [(DATA, 16)]) == (OK, 1)
        zeros = [not any(os.pread(fd, 512, 512 * n)) for n in range(8)]
        assert zeros == [n in (1, 2, 5) for n in range(8)]
    for sector, count, flags, status in (
        (SECTORS, 1, 0, IOERR),
        (0, 0xFFFFFFFF, 0, IOERR),
        (0, 1, 2, UNSUPP),
    ):
        struct.pack_into("<QII", drive.memory, DATA, sector, count, flags)
        assert drive.run(WRITE_ZEROES, 0, [(DATA, 16)]) == (status, 1)
    assert drive.run(DISCARD, 0, [(DATA, 10)]) == (IOERR, 1)


def test_no_more_ranges_than_it_says(drive: Drive) -> None:
    drive.memory[DATA : DATA + 17 * 16] = bytes(17 * 16)
    for kind, most in ((WRITE_ZEROES, 1), (DISCARD, 16)):
        assert drive.run(kind, 0, [(DATA, 16 * most)]) == (OK, 1)
        assert drive.run(kind, 0, [(DATA, 16 * (most + 1))]) == (IOERR, 1)


@pytest.mark.parametrize("mapped", [True, False])
def test_what_a_request_takes_of_the_host_is_bounded(mapped: bool) -> None:
    """However much a driver describes, over the same memory again and again."""
    with Driver(VirtioBlk(size=80 << 20)) as driver:
        if not mapped:
            driver.model.dma.unmap(0, MEMORY)
            address = ctypes.addressof(ctypes.c_char.from_buffer(driver.memory))
            driver.model.dma.map(0, MEMORY, address=address)
        drive = Drive(driver)
        driver.start(blk.FLUSHES, size=256)
        segment = (0x20000, 0x40000)
        for segments, status in (
            ([segment] * 254, OK),
            ([segment] * 253 + [(segment[0], 0x40200)], IOERR),
            ([(0x20000, 0x80000)] * 160, IOERR),
        ):
            tracemalloc.start()
            try:
                assert drive.run(IN, 0, writable=segments)[0] == status
                assert drive.run(OUT, 0, segments)[0] == status
                assert tracemalloc.get_traced_memory()[1] < 5 << 20
            finally:
                tracemalloc.stop()
        table = DATA + 0x1000
        for count, status in ((254, OK), (255, IOERR)):
            data = [(DATA, 512, 3, at + 2) for at in range(count)]
            descriptors = [(HEADER, 16, 1, 1), *data, (STATUS, 1, 2, 0)]
            packed = b"".join(struct.pack("<QIHH", *one) for one in descriptors)
            drive.memory[table : table + len(packed)] = packed
            struct.pack_into("<IIQ", drive.memory, HEADER, IN, 0, 0)
            driver.describe(0, table, len(packed), 4)
            driver.make_available(0)
            driver.notify()
            driver.used()
            assert drive.memory[STATUS] == status


def test_a_reset_ends_a_batch_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    flushes: list[int] = []

    def flush(fd: int) -> None:
        flushes.append(fd)
        begun.set()
        assert go_on.wait(LIMIT)

    monkeypatch.setattr(os, "fdatasync", flush)
    with Driver(VirtioBlk(size=1 << 20)) as driver:
        drive = Drive(driver)
        struct.pack_into("<IIQ", drive.memory, HEADER, FLUSH, 0, 0)
        for head in range(0, 16, 2):
            driver.offer([(HEADER, 16)], [(STATUS, 1)], head)
        driver.notify()
        assert begun.wait(LIMIT)
        driver.write(0x14, 0, 1)
        go_on.set()
        driver.wait_for_status(0)
    assert len(flushes) == 1


def test_other_requests(drive: Drive) -> None:
    assert drive.run(99) == (UNSUPP, 1)


def test_requests_without_a_header_or_a_status(drive: Drive) -> None:
    driver = drive.driver
    for readable, writable in (([(HEADER, 8)], [(STATUS, 1)]), ([(HEADER, 16)], [])):
        driver.start()
        driver.offer(readable, writable)
        driver.notify()
        driver.wait_for_status(0x0F | NEEDS_RESET)


def test_writes_are_durable_for_who_can_not_flush(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(os, "fdatasync", flushes.append)
    struct.pack_into("<QII", drive.memory, DATA + 0x1000, 0, 8, 0)
    for features in (blk.FLUSHES, 0):
        drive.driver.start(features)
        assert drive.run(OUT, 0, [(DATA, 512)]) == (OK, 1)
        for kind in (DISCARD, WRITE_ZEROES):
            assert drive.run(kind, 0, [(DATA + 0x1000, 16)]) == (OK, 1)
        assert len(flushes) == (0 if features else 3)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(b"\x22" * 5000)
    with Driver(VirtioBlk(file=str(path), read_only=True, block_size=4096)) as driver:
        drive = Drive(driver)
        assert driver.read(0x2000, 8) == 8
        assert drive.run(IN, 7, writable=[(DATA, 512)]) == (OK, 513)
        assert drive.memory[DATA : DATA + 512] == b"\x22" * 512
        for kind in (OUT, WRITE_ZEROES, DISCARD):
            assert drive.run(kind, 0, [(DATA, 512)]) == (IOERR, 1)
    with pytest.raises(ModelError, match="create it first"):
        VirtioBlk(file=str(tmp_path / "none"))
