# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Admin commands, each with what it does and with what it refuses."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from pyvmm.models.nvme.spec import Cns, Feature, LogPage

from .driver import (
    BLOCKS,
    DATA,
    Admin,
    Driver,
    Io,
    Queue,
    Status,
    blocks,
)


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
    def test_errors(self, drive: Driver, queue: Queue) -> None:
        queue.run(0x77, *blocks(5, 1), nsid=1, cid=99)
        queue.run(Io.READ, *blocks(BLOCKS, 1), nsid=1, cid=100)
        newest, older, none = (drive.log_page(LogPage.ERROR, 64, 64 * n) for n in range(3))
        fields = struct.unpack_from("<QHHHHQI", newest)
        assert fields[:3] == (2, 1, 100)
        assert fields[3] >> 1 & 0x7FF == Status.LBA_OUT_OF_RANGE
        assert fields[4:] == (40, BLOCKS, 1)
        assert struct.unpack_from("<QHH", older) == (1, 1, 99)
        assert not any(none)

    def test_smart(self, drive: Driver, queue: Queue) -> None:
        for _ in range(3):
            queue.run(Io.READ, *blocks(0, 2), nsid=1, prp1=DATA)
        page = drive.log_page(LogPage.SMART, 512)
        assert page[1:3] == (313).to_bytes(2, "little")
        assert page[32] == 1, "thousands of 512 bytes, rounded up"
        assert page[64] == 3

    def test_others(self, drive: Driver, queue: Queue) -> None:
        assert drive.log_page(LogPage.FIRMWARE_SLOT, 512)[:16] == b"\1" + bytes(7) + b"1.0     "
        effects = drive.log_page(LogPage.COMMANDS_AND_EFFECTS, 4096)
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
