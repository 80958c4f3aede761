# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Commands, each with what it does and with what it refuses."""

from __future__ import annotations

import os
import struct
import threading
import time
from uuid import UUID

import pytest

from pyvmm.models.nvme import Nvme
from pyvmm.models.nvme.engine import Engine
from pyvmm.models.nvme.shadow import ShadowDoorbells
from pyvmm.models.nvme.spec import Cns, Feature, LogPage
from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import EventFd

from .driver import (
    DATA,
    LIMIT,
    LISTS,
    MEMORY,
    PAGE,
    Admin,
    Done,
    Driver,
    Io,
    Queue,
    Status,
    blocks,
)


@pytest.fixture
def queue(drive: Driver) -> Queue:
    return drive.ready()


BLOCKS = (1 << 20) // 512


class TestIdentify:
    def test_the_controller(self, drive: Driver, queue: Queue) -> None:
        data = drive.identify(Cns.CONTROLLER)
        assert data[:2] == b"\x34\x12"
        assert data[24:64].decode().strip() == "pyvmm NVMe controller"
        assert data[80:84] == b"\0\x04\x01\0"
        assert data[77] == 8
        assert data[111] == 1
        assert data[512:514] == b"\x66\x44"
        assert data[516:520] == b"\1\0\0\0"
        assert data[768:].startswith(b"nqn.2014-08.org.nvmexpress:uuid:")

    def test_namespaces(self, drive: Driver, queue: Queue) -> None:
        data = drive.identify(Cns.NAMESPACE, 1)
        assert struct.unpack_from("<QQQ", data) == (BLOCKS,) * 3
        assert data[128:132] == b"\0\0\x09\0"
        assert drive.identify(Cns.ACTIVE_NAMESPACES, 0)[:8] == b"\1\0\0\0\0\0\0\0"
        assert not any(drive.identify(Cns.ACTIVE_NAMESPACES, 1))
        descriptors = drive.identify(Cns.NAMESPACE_DESCRIPTORS, 1)
        assert descriptors[:4] == b"\3\x10\0\0"
        assert UUID(bytes=descriptors[4:20]).version == 4
        assert not any(descriptors[20:])
        assert data[24] == 1, "no NGUID that is never used again"
        assert not any(data[104:128]), "neither NGUID nor EUI64"

    def test_what_linux_asks_of_a_newer_controller(self, drive: Driver, queue: Queue) -> None:
        assert not any(drive.identify(Cns.COMMAND_SET_CONTROLLER))

    @pytest.mark.parametrize(
        ("cns", "nsid", "status"),
        [
            (0x00, 0, Status.INVALID_NAMESPACE),
            (0x00, 2, Status.INVALID_NAMESPACE),
            (0x00, 0xFFFFFFFF, Status.INVALID_NAMESPACE),
            (0x02, 0xFFFFFFFE, Status.INVALID_NAMESPACE),
            (0x03, 2, Status.INVALID_NAMESPACE),
            (0x08, 1, Status.INVALID_FIELD),
            (0xFF, 1, Status.INVALID_FIELD),
        ],
    )
    def test_what_there_is_not(
        self, drive: Driver, queue: Queue, cns: int, nsid: int, status: Status
    ) -> None:
        done = drive.admin.run(Admin.IDENTIFY, cns, nsid=nsid, prp1=DATA)
        assert (done.status, done.dnr) == (status, True)


class TestQueues:
    def create_cq(self, drive: Driver, id: int, entries: int, flags: int, base: int = DATA) -> int:
        done = drive.admin.run(Admin.CREATE_CQ, (entries - 1) << 16 | id, flags, prp1=base)
        return done.status

    def test_completion_queues(self, drive: Driver, queue: Queue) -> None:
        for id in (0, 1, 65, 0xFFFF):
            assert self.create_cq(drive, id, 8, 1) == Status.INVALID_QUEUE_ID
        for entries in (1, 2049, 0x10000):
            assert self.create_cq(drive, 2, entries, 1) == Status.INVALID_QUEUE_SIZE
        assert self.create_cq(drive, 2, 8, 0) == Status.INVALID_FIELD
        assert self.create_cq(drive, 2, 8, 1, DATA + 64) == Status.INVALID_PRP_OFFSET
        assert self.create_cq(drive, 2, 8, 65 << 16 | 3) == Status.INVALID_INTERRUPT_VECTOR
        assert self.create_cq(drive, 2, 8, 64 << 16 | 3) == Status.SUCCESS

    def test_submission_queues(self, drive: Driver, queue: Queue) -> None:
        for cq, id, entries, flags, status in (
            (0, 2, 8, 1, Status.INVALID_CQ),
            (2, 2, 8, 1, Status.INVALID_CQ),
            (1, 0, 8, 1, Status.INVALID_QUEUE_ID),
            (1, 1, 8, 1, Status.INVALID_QUEUE_ID),
            (1, 65, 8, 1, Status.INVALID_QUEUE_ID),
            (1, 2, 1, 1, Status.INVALID_QUEUE_SIZE),
            (1, 2, 8, 0, Status.INVALID_FIELD),
            (1, 2, 8, 1, Status.SUCCESS),
        ):
            shape = (entries - 1) << 16 | id
            done = drive.admin.run(Admin.CREATE_SQ, shape, cq << 16 | flags, prp1=DATA)
            assert done.status == status

    def test_deleting(self, drive: Driver, queue: Queue) -> None:
        run = drive.admin.run
        for opcode in (Admin.DELETE_SQ, Admin.DELETE_CQ):
            for id in (0, 2, 0xFFFF):
                assert run(opcode, id).status == Status.INVALID_QUEUE_ID
        assert run(Admin.DELETE_CQ, 1).status == Status.INVALID_QUEUE_DELETION
        assert run(Admin.DELETE_SQ, 1).status == Status.SUCCESS
        assert run(Admin.DELETE_CQ, 1).status == Status.SUCCESS
        drive.create()

    def test_entry_sizes_that_are_not_the_specification_s(self, drive: Driver) -> None:
        drive.enable(cc=1)
        assert self.create_cq(drive, 1, 8, 1) == Status.INVALID_QUEUE_SIZE


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
        flags: list[int] = []
        write = os.pwritev

        def pwritev(fd: int, views: list[memoryview], offset: int, how: int) -> int:
            flags.append(how)
            return write(fd, views, offset)

        monkeypatch.setattr(os, "pwritev", pwritev)
        for cdw12, cache in ((0, 1), (1 << 30, 1), (0, 0)):
            drive.admin.run(Admin.SET_FEATURES, Feature.VOLATILE_WRITE_CACHE, cache)
            assert queue.run(Io.WRITE, 0, 0, cdw12, nsid=1, prp1=DATA).status == Status.SUCCESS
        assert flags == [0, os.RWF_DSYNC, os.RWF_DSYNC]

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


class TestOpcodes:
    def test_every_other_is_refused(self, drive: Driver, queue: Queue) -> None:
        for opcode in set(range(256)) - set(Io):
            assert queue.run(opcode, nsid=1).status == Status.INVALID_OPCODE
        for opcode in set(range(256)) - set(Admin):
            assert drive.admin.run(opcode).status == Status.INVALID_OPCODE

    def test_fused_commands_and_admin_sgls(self, drive: Driver, queue: Queue) -> None:
        for flags in (1, 2):
            done = queue.run(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, flags=flags)
            assert done.status == Status.INVALID_FIELD
        done = drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA, flags=0x40)
        assert done.status == Status.INVALID_FIELD


class TestFeatures:
    def get(self, drive: Driver, feature: int, select: int = 0, cdw11: int = 0) -> int:
        done = drive.admin.run(Admin.GET_FEATURES, select << 8 | feature, cdw11)
        assert done.status == Status.SUCCESS
        return done.result

    def set(self, drive: Driver, feature: int, value: int) -> int:
        return drive.admin.run(Admin.SET_FEATURES, feature, value).status

    @pytest.mark.parametrize(
        ("feature", "value", "wrong"),
        [
            (Feature.ARBITRATION, 0x03020102, 0x08),
            (Feature.POWER_MANAGEMENT, 0x20, 1),
            (Feature.TEMPERATURE_THRESHOLD, 400, 1 << 16 | 400),
            (Feature.ERROR_RECOVERY, 7, 1 << 16),
            (Feature.VOLATILE_WRITE_CACHE, 0, 2),
            (Feature.INTERRUPT_COALESCING, 0x0408, 1 << 16),
            (Feature.WRITE_ATOMICITY, 1, 2),
            (Feature.ASYNC_EVENT, 0x1F, None),
        ],
    )
    def test_values(self, drive: Driver, feature: int, value: int, wrong: int | None) -> None:
        drive.enable()
        default = self.get(drive, feature)
        assert self.get(drive, feature, 1) == self.get(drive, feature, 2) == default
        assert self.get(drive, feature, 3) == 4
        assert self.set(drive, feature, value) == Status.SUCCESS
        assert self.get(drive, feature) == value
        assert self.get(drive, feature, 1) == default
        if wrong is not None:
            assert self.set(drive, feature, wrong) == Status.INVALID_FIELD
        assert self.set(drive, feature | 1 << 31, value) == Status.FEATURE_NOT_SAVEABLE
        drive.disable()
        drive.enable()
        assert self.get(drive, feature) == default, "a reset undoes it"

    def test_number_of_queues(self, drive: Driver) -> None:
        drive.enable()
        done = drive.admin.run(Admin.SET_FEATURES, Feature.NUMBER_OF_QUEUES, 3 << 16 | 3)
        assert (done.status, done.result) == (Status.SUCCESS, 63 << 16 | 63)
        for value in (0xFFFF, 0xFFFF0000):
            assert self.set(drive, Feature.NUMBER_OF_QUEUES, value) == Status.INVALID_FIELD
        drive.create()
        assert self.set(drive, Feature.NUMBER_OF_QUEUES, 0) == Status.SEQUENCE_ERROR

    def test_interrupt_vectors(self, drive: Driver) -> None:
        drive.enable()
        assert self.set(drive, Feature.INTERRUPT_VECTOR, 1 << 16 | 5) == Status.SUCCESS
        assert self.get(drive, Feature.INTERRUPT_VECTOR, 0, 5) == 1 << 16 | 5
        assert self.get(drive, Feature.INTERRUPT_VECTOR, 0, 6) == 6
        assert self.set(drive, Feature.INTERRUPT_VECTOR, 65) == Status.INVALID_FIELD

    def test_unknown_ones(self, drive: Driver) -> None:
        drive.enable()
        for feature in (0x00, 0x03, 0x0C, 0x7F, 0x80, 0xFF):
            assert self.set(drive, feature, 0) == Status.INVALID_FIELD
            assert drive.admin.run(Admin.GET_FEATURES, feature).status == Status.INVALID_FIELD
        done = drive.admin.run(Admin.GET_FEATURES, 4 << 8 | Feature.ARBITRATION)
        assert done.status == Status.INVALID_FIELD


class TestLogPages:
    def page(self, drive: Driver, id: int, size: int, offset: int = 0, rae: int = 0) -> bytes:
        words = size // 4 - 1
        cdw10 = (words & 0xFFFF) << 16 | rae << 15 | id
        done = drive.admin.run(Admin.GET_LOG_PAGE, cdw10, words >> 16, offset, prp1=DATA)
        assert done.status == Status.SUCCESS
        return drive.memory[DATA : DATA + size]

    def test_errors(self, drive: Driver, queue: Queue) -> None:
        queue.run(0x77, *blocks(5, 1), nsid=1, cid=99)
        queue.run(Io.READ, *blocks(BLOCKS, 1), nsid=1, cid=100)
        newest, older, none = (self.page(drive, LogPage.ERROR, 64, 64 * n) for n in range(3))
        fields = struct.unpack_from("<QHHHHQI", newest)
        assert fields[:3] == (2, 1, 100)
        assert fields[3] >> 1 & 0x7FF == Status.LBA_OUT_OF_RANGE
        assert fields[4:] == (40, BLOCKS, 1)
        assert struct.unpack_from("<QHH", older) == (1, 1, 99)
        assert not any(none)

    def test_smart(self, drive: Driver, queue: Queue) -> None:
        for _ in range(3):
            queue.run(Io.READ, *blocks(0, 2), nsid=1, prp1=DATA)
        page = self.page(drive, LogPage.SMART, 512)
        assert page[1:3] == (313).to_bytes(2, "little")
        assert page[32] == 1, "thousands of 512 bytes, rounded up"
        assert page[64] == 3

    def test_others(self, drive: Driver, queue: Queue) -> None:
        assert self.page(drive, LogPage.FIRMWARE_SLOT, 512)[:16] == b"\1" + bytes(7) + b"1.0     "
        effects = self.page(drive, LogPage.COMMANDS_AND_EFFECTS, 4096)
        assert effects[4 * Admin.IDENTIFY] == 1
        assert effects[1024 + 4 * Io.WRITE] == 3
        assert effects[1024 + 4 * 0x77] == 0

    def test_what_there_is_not(self, drive: Driver, queue: Queue) -> None:
        for id in (0x00, 0x04, 0x06, 0x70, 0xC0):
            done = drive.admin.run(Admin.GET_LOG_PAGE, 15 << 16 | id, prp1=DATA)
            assert done.status == Status.INVALID_LOG_PAGE
        for words, high, offset in ((0, 0, 2), (0, 0, 516), (0xFFFF, 0xFFFF, 0)):
            cdw10 = words << 16 | LogPage.SMART
            done = drive.admin.run(Admin.GET_LOG_PAGE, cdw10, high, offset, prp1=DATA)
            assert done.status == Status.INVALID_FIELD


class TestEvents:
    def test_a_wrong_doorbell_is_told(self, drive: Driver, queue: Queue) -> None:
        admin = drive.admin
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=51)
        admin.ring()
        drive.ring(2 * 9, 1)
        (told,) = admin.wait()
        assert (told.cid, told.status, told.result) == (50, 0, LogPage.ERROR << 16 | 0 << 8)
        drive.ring(2, 32)  # its last entry is 31
        drive.ring(3, 5)  # nothing was completed
        assert admin.reap() == [], "the first has not been read about"
        TestLogPages().page(drive, LogPage.ERROR, 64, rae=1)
        assert admin.reap() == [], "and its event is retained"
        admin.submit(Admin.GET_LOG_PAGE, 15 << 16 | LogPage.ERROR, prp1=DATA, cid=1)
        admin.ring()
        answers = admin.wait(2)
        assert {answer.cid for answer in answers} == {1, 51}
        (told,) = (answer for answer in answers if answer.cid == 51)
        assert told.result == LogPage.ERROR << 16 | 1 << 8
        assert queue.run(Io.FLUSH, nsid=1).status == Status.SUCCESS

    def test_too_many_requests(self, drive: Driver) -> None:
        admin = drive.enable()
        for cid in range(5):
            admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=cid)
        admin.ring()
        (refused,) = admin.wait()
        assert (refused.cid, refused.status) == (4, Status.ASYNC_EVENT_LIMIT)

    def test_requests_take_no_room(self, drive: Driver) -> None:
        admin = drive.enable(entries=2)
        for cid in range(3):
            admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=cid)
            admin.ring()
            admin.until_fetched()
        assert admin.run(Admin.IDENTIFY, 1, prp1=DATA, cid=9).cid == 9

    def test_abort(self, drive: Driver, queue: Queue) -> None:
        admin = drive.admin
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        admin.submit(Admin.ABORT, 50 << 16, cid=1)
        admin.ring()
        first, second = sorted(admin.wait(2))
        assert (first.cid, first.status, first.result) == (1, Status.SUCCESS, 0)
        assert (second.cid, second.status) == (50, Status.ABORT_REQUESTED)
        for sq, cid in ((0, 50), (1, 0), (9, 9)):
            assert admin.run(Admin.ABORT, cid << 16 | sq).result == 1

    def test_it_gets_too_warm(self, drive: Driver) -> None:
        admin = drive.enable()
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        assert admin.run(Admin.SET_FEATURES, Feature.TEMPERATURE_THRESHOLD, 300).cid == 0
        assert admin.run(Admin.SET_FEATURES, Feature.ASYNC_EVENT, 2).cid == 0
        admin.submit(Admin.SET_FEATURES, Feature.TEMPERATURE_THRESHOLD, 301)
        admin.ring()
        told = {done.cid: done.result for done in admin.wait(2)}
        assert told == {0: 0, 50: LogPage.SMART << 16 | 1 << 8 | 1}
        assert TestLogPages().page(drive, LogPage.SMART, 512)[0] == 2


class TestDoorbellBuffers:
    SHADOW, INDEXES = LISTS, LISTS + PAGE

    def test_what_is_in_memory_is_seen(self, drive: Driver, queue: Queue) -> None:
        done = drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
        assert done.status == Status.SUCCESS
        memory = memoryview(drive.memory).cast("I")
        tail, head = self.SHADOW // 4 + 2, self.SHADOW // 4 + 3
        with drive.model.lock:
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=1)
            memory[tail] = queue.tail
            queue.ring()  # the first is asked for: the index is 0, and the tail goes past it
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=2)
            memory[tail] = queue.tail
        found = queue.wait(2)
        memory[head] = queue.head
        assert [done.cid for done in found] == [1, 2]
        drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA)
        assert memory[self.INDEXES // 4 + 2] == 2, "the next one is asked for"
        memory.release()

    def test_intx_goes_down_by_heads_in_memory(
        self, drive: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drive.model.set_irqs(VFIO_PCI_MSIX_IRQ_INDEX, 0x20, 0, 0, None)
        queue = drive.ready()
        drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
        line = drive.model._interrupts.intx
        begun, go_on = threading.Event(), threading.Event()

        def flush(_fd: int) -> None:
            begun.set()
            assert go_on.wait(LIMIT)

        def shadow() -> None:
            at = self.SHADOW + 8
            struct.pack_into("<II", drive.memory, at, queue.tail, queue.head)

        def wait_for_line(level: bool) -> None:
            deadline = time.monotonic() + LIMIT
            while line.level != level:
                assert time.monotonic() < deadline
                time.sleep(0.0005)

        monkeypatch.setattr(os, "fdatasync", flush)
        for cid in range(2):
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=cid)
        shadow()
        queue.ring()
        found: list[Done] = []
        while len(found) < 2:
            found += queue.reap(acknowledge=False)
        wait_for_line(True)
        queue.submit(Io.FLUSH, nsid=1, cid=2)
        shadow()
        queue.ring()
        assert begun.wait(LIMIT)
        wait_for_line(False)
        go_on.set()
        wait_for_line(True)
        assert [done.cid for done in queue.wait()] == [2]
        assert not line.level

    def test_doorbells_that_are_ioeventfds(self) -> None:
        with Driver(Nvme(size=1 << 20, ioeventfd=True)) as drive:
            doorbells = {one.offset: one for one in drive.model.ioeventfds(0)}
            assert sorted(doorbells) == [0x1000 + 8 * id for id in range(1, 65)]
            queue = drive.ready()
            with EventFd.from_fd(doorbells[0x1008].fd) as tail:
                tail.signal()
                deadline = time.monotonic() + LIMIT
                told = "a doorbell by ioeventfd, without doorbell buffers"
                while not drive.model.counters[told]:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
                drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
                queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=5)
                struct.pack_into("<I", drive.memory, self.SHADOW + 8, queue.tail)
                tail.signal()
                assert queue.wait()[0].cid == 5
        with Nvme(size=1 << 20) as model:
            assert list(model.ioeventfds(0)) == []

    def test_a_doorbell_right_before_it_rests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has looked for the last time by then, and an ioeventfd tells no value."""
        ask = ShadowDoorbells.ask_for_doorbells
        armed = threading.Event()
        with Driver(Nvme(size=1 << 20, ioeventfd=True)) as drive:
            queue = drive.ready()

            def ask_and_be_rung(shadow: ShadowDoorbells, engine: Engine) -> None:
                ask(shadow, engine)
                if armed.is_set():
                    armed.clear()
                    struct.pack_into("<I", drive.memory, self.SHADOW + 8, queue.tail)
                    with drive.model.lock:
                        drive.model.ring_unseen(1)

            monkeypatch.setattr(ShadowDoorbells, "ask_for_doorbells", ask_and_be_rung)
            drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=5)
            armed.set()
            drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA)
            assert queue.wait()[0].cid == 5

    def test_what_can_not_be_in_memory(self, drive: Driver, queue: Queue) -> None:
        for prp1, prp2 in ((0, 0), (LISTS + 4, LISTS), (LISTS, LISTS + 8)):
            done = drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=prp1, prp2=prp2)
            assert done.status == Status.INVALID_FIELD
        drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
        drive.memory[self.SHADOW + 8 : self.SHADOW + 16] = b"\xff" * 8
        drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA)
        assert drive.model.counters["a doorbell with a value that can't be"] > 0
        drive.memory[self.SHADOW + 8 : self.SHADOW + 16] = bytes(8)
        assert drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA).status == Status.SUCCESS

    def test_memory_that_is_not_there(self, drive: Driver, queue: Queue) -> None:
        drive.admin.submit(Admin.DOORBELL_BUFFER_CONFIG, prp1=MEMORY, prp2=MEMORY)
        drive.admin.ring()
        drive.wait_for(2, 2)
        drive.disable()
        drive.ready()
