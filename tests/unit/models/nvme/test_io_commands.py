# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""I/O commands, each with what it does and with what it refuses."""

from __future__ import annotations

import os
import struct
import threading
from typing import Any

import pytest

from pyvmm.models.nvme.spec import Feature

from .driver import (
    BLOCKS,
    DATA,
    LIMIT,
    LISTS,
    MEMORY,
    PAGE,
    Admin,
    Driver,
    Io,
    Queue,
    Status,
    blocks,
)


class TestReadsAndWrites:
    def test_there_and_back(self, drive: Driver, queue: Queue) -> None:
        content = os.urandom(64 * 512)
        drive.memory[DATA : DATA + len(content)] = content
        pages = [DATA + at for at in range(PAGE, len(content), PAGE)]
        struct.pack_into(f"<{len(pages)}Q", drive.memory, LISTS, *pages)
        command = {"nsid": 1, "prp1": DATA, "prp2": LISTS}
        assert queue.run(Io.WRITE, *blocks(100, 64), **command).status == Status.SUCCESS
        drive.memory[DATA : DATA + len(content)] = bytes(len(content))
        assert queue.run(Io.READ, *blocks(100, 64), **command).status == Status.SUCCESS
        assert drive.memory[DATA : DATA + len(content)] == content
        kind = 0x30 << 56 | 32  # the same by an SGL
        struct.pack_into("<QI4xQI4x", drive.memory, LISTS, DATA + 100, 500, DATA + 9000, 12)
        done = queue.run(Io.READ, *blocks(101, 1), nsid=1, prp1=LISTS, prp2=kind, flags=0x40)
        assert done.status == Status.SUCCESS
        assert drive.memory[DATA + 100 : DATA + 600] == content[512:1012]
        assert drive.memory[DATA + 9000 : DATA + 9012] == content[1012:1024]

    @pytest.mark.parametrize(
        ("first", "count", "nsid", "status"),
        [
            (BLOCKS - 1, 1, 1, Status.SUCCESS),
            (BLOCKS - 1, 2, 1, Status.LBA_OUT_OF_RANGE),
            (BLOCKS, 1, 1, Status.LBA_OUT_OF_RANGE),
            ((1 << 64) - 1, 0x10000, 1, Status.LBA_OUT_OF_RANGE),
            (0, 1, 0, Status.INVALID_NAMESPACE),
            (0, 1, 2, Status.INVALID_NAMESPACE),
            (0, 1, 0xFFFFFFFF, Status.INVALID_NAMESPACE),
        ],
    )
    @pytest.mark.parametrize("opcode", [Io.READ, Io.WRITE, Io.WRITE_ZEROES, Io.COMPARE])
    def test_blocks_that_there_are_not(
        self, queue: Queue, opcode: Io, first: int, count: int, nsid: int, status: Status
    ) -> None:
        done = queue.run(opcode, *blocks(first, count), nsid=nsid, prp1=DATA)
        assert done.status == status

    def test_more_than_one_command_may_move(self, drive: Driver) -> None:
        """1 MiB is all that this drive has: so make it a larger one."""
        namespace = drive.model.namespaces[1]
        os.ftruncate(namespace.backing.fd, 4 << 20)
        namespace.blocks = (4 << 20) // 512
        queue = drive.ready()
        done = queue.run(Io.READ, *blocks(0, 2049), nsid=1, prp1=DATA)
        assert done.status == Status.INVALID_FIELD

    @pytest.mark.parametrize("opcode", [Io.READ, Io.WRITE])
    def test_memory_that_is_not_there(self, queue: Queue, opcode: Io) -> None:
        for iova in (MEMORY, (1 << 64) - PAGE, MEMORY - PAGE):
            done = queue.run(opcode, *blocks(0, 16), nsid=1, prp1=iova, prp2=MEMORY)
            assert (done.status, done.dnr) == (Status.DATA_TRANSFER_ERROR, False)

    def test_a_write_that_must_be_durable(
        self, drive: Driver, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flushes: list[int] = []
        monkeypatch.setattr(os, "fdatasync", flushes.append)
        one = [drive.model.namespaces[1].backing.fd]
        assert queue.run(Io.WRITE, 0, 0, nsid=1, prp1=DATA).status == Status.SUCCESS
        assert flushes == []
        assert queue.run(Io.WRITE, 0, 0, 1 << 30, nsid=1, prp1=DATA).status == Status.SUCCESS
        assert flushes == one
        drive.admin.run(Admin.SET_FEATURES, Feature.VOLATILE_WRITE_CACHE, 0)
        assert flushes == one * 2, "when the cache was switched off"
        assert queue.run(Io.WRITE, 0, 0, nsid=1, prp1=DATA).status == Status.SUCCESS
        assert flushes == one * 3

    def test_a_write_under_way_when_the_cache_is_switched_off(
        self, drive: Driver, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()
        events: list[str] = []
        monkeypatch.setattr(os, "fdatasync", lambda _fd: events.append("flushed"))
        write = drive.model.dma_to_file

        def slow(*args: Any, **keys: Any) -> int:
            begun.set()
            assert go_on.wait(LIMIT)
            events.append("written")
            return write(*args, **keys)

        monkeypatch.setattr(drive.model, "dma_to_file", slow)
        pages = 20  # too much to be written at once
        entries = [DATA + PAGE * page for page in range(1, pages)]
        struct.pack_into(f"<{pages - 1}Q", drive.memory, LISTS, *entries)
        queue.submit(Io.WRITE, *blocks(0, pages * 8), nsid=1, prp1=DATA, prp2=LISTS)
        queue.ring()
        assert begun.wait(LIMIT)
        done = drive.admin.run(Admin.SET_FEATURES, Feature.VOLATILE_WRITE_CACHE, 0)
        assert done.status == Status.SUCCESS
        go_on.set()
        (done,) = queue.wait()
        assert done.status == Status.SUCCESS
        assert events == ["flushed", "written", "flushed"]

    def test_a_flush_that_finds_no_room(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has lost something; to make room now brings nothing back."""

        def fdatasync(_fd: int) -> None:
            raise OSError(28, "it fails")

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        done = queue.run(Io.FLUSH, nsid=1)
        assert (done.status, done.dnr) == (Status.WRITE_FAULT, True)

    def test_a_full_disk(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        for number, status in ((28, Status.CAPACITY_EXCEEDED), (5, Status.WRITE_FAULT)):

            def fail(*_: object, number: int = number) -> int:
                raise OSError(number, "it fails")

            monkeypatch.setattr(os, "pwritev", fail)
            done = queue.run(Io.WRITE, *blocks(0, 1), nsid=1, prp1=DATA)
            assert (done.status, done.dnr) == (status, False)

    def test_compare(self, drive: Driver, queue: Queue) -> None:
        drive.memory[DATA : DATA + 1024] = b"\x11" * 1024
        assert queue.run(Io.WRITE, *blocks(4, 2), nsid=1, prp1=DATA).status == Status.SUCCESS
        assert queue.run(Io.COMPARE, *blocks(4, 2), nsid=1, prp1=DATA).status == Status.SUCCESS
        drive.memory[DATA + 1000] = 0
        done = queue.run(Io.COMPARE, *blocks(4, 2), nsid=1, prp1=DATA)
        assert done.status == Status.COMPARE_FAILURE

    @pytest.mark.parametrize("deallocate", [0, 1 << 25])
    @pytest.mark.parametrize("possible", [True, False])
    def test_write_zeroes(
        self,
        drive: Driver,
        queue: Queue,
        monkeypatch: pytest.MonkeyPatch,
        deallocate: int,
        possible: bool,
    ) -> None:
        if not possible:
            backing = drive.model.namespaces[1].backing
            monkeypatch.setattr(backing, "deallocate", lambda *_: False)
        drive.memory[DATA : DATA + 2048] = b"\x11" * 2048
        assert queue.run(Io.WRITE, *blocks(8, 4), nsid=1, prp1=DATA).status == Status.SUCCESS
        assert queue.run(Io.WRITE_ZEROES, 9, 0, 1 | deallocate, nsid=1).status == Status.SUCCESS
        assert queue.run(Io.READ, *blocks(8, 4), nsid=1, prp1=DATA).status == Status.SUCCESS
        one = b"\x11" * 512
        assert drive.memory[DATA : DATA + 2048] == one + bytes(1024) + one

    def test_deallocating(self, drive: Driver, queue: Queue) -> None:
        fd = drive.model.namespaces[1].backing.fd
        os.pwrite(fd, b"\x11" * (1 << 20), 0)
        before = os.fstat(fd).st_blocks
        struct.pack_into("<IIQIIQ", drive.memory, DATA, 0, 64, 0, 0, 64, 1024)
        for attributes in (0, 4):
            done = queue.run(Io.DATASET_MANAGEMENT, 1, attributes, nsid=1, prp1=DATA)
            assert done.status == Status.SUCCESS
            assert (os.fstat(fd).st_blocks < before) == bool(attributes)
        assert os.pread(fd, 64 * 512, 0) == bytes(64 * 512)
        assert os.pread(fd, 1, 64 * 512) == b"\x11"
        struct.pack_into("<IIQ", drive.memory, DATA, 0, 2, BLOCKS - 1)
        done = queue.run(Io.DATASET_MANAGEMENT, 0, 4, nsid=1, prp1=DATA)
        assert done.status == Status.LBA_OUT_OF_RANGE

    def test_flush_of_one_and_of_all(
        self, drive: Driver, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fdatasync", synced.append)
        for nsid, status in ((1, 0), (0xFFFFFFFF, 0), (0, 0xB), (2, 0xB)):
            assert queue.run(Io.FLUSH, nsid=nsid).status == status
        assert len(synced) == 2
