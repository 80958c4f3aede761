# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers, and the controller's life: on, off, reset, shut down, broken."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from pyvmm.models import ModelError
from pyvmm.models import backing as backings
from pyvmm.models.nvme import Nvme
from pyvmm.uapi.vfio import VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import EventFd

from .conftest import Slow
from .driver import (
    AQA,
    ASQ,
    CC,
    CFS,
    CSTS,
    DATA,
    ENABLE,
    LIMIT,
    PAGE,
    RDY,
    Admin,
    Driver,
    Io,
    Status,
    blocks,
)


def test_capabilities(drive: Driver) -> None:
    cap = drive.read(0x00, 8)
    assert cap & 0xFFFF == 2047
    assert cap >> 16 & 1, "queues are contiguous"
    assert cap >> 37 & 1, "the NVM command set"
    assert (cap >> 32 & 0xF, cap >> 48 & 0xF) == (0, 0)
    assert drive.read(0x04) == cap >> 32
    assert drive.read(0x08) == 0x00010400
    assert (drive.read(CC), drive.read(CSTS)) == (0, 0)
    assert drive.read(0x20) == 0, "reserved"


def test_on_and_off(drive: Driver) -> None:
    for _ in range(3):
        assert drive.ready().run(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA).status == 0
        drive.disable()
    drive.ring(0, 1)
    assert drive.model.counters["a doorbell while the controller is off"] == 1


@pytest.mark.parametrize(
    ("register", "value", "size"),
    [(AQA, 0, 4), (AQA, 0x10000, 4), (CC, ENABLE | 5 << 7, 4), (CC, ENABLE | 1 << 4, 4)],
)
def test_what_it_can_not_be_enabled_with(
    drive: Driver, register: int, value: int, size: int
) -> None:
    drive.write(AQA, 0x10001)
    drive.write(register, value, size)
    drive.write(CC, drive.read(CC) | ENABLE)
    assert drive.read(CSTS) == CFS
    drive.write(CC, 0)
    assert drive.read(CSTS) == 0
    drive.enable()


def test_larger_pages(drive: Driver) -> None:
    """16 KiB: a second PRP is at a page of that size."""
    drive.enable(cc=ENABLE | 2 << 7)
    queue = drive.create()
    drive.memory[DATA : DATA + 2 * PAGE] = bytes(range(256)) * 32
    done = queue.run(Io.WRITE, *blocks(0, 16), nsid=1, prp1=DATA)
    assert done.status == Status.SUCCESS
    done = queue.run(
        Io.READ, *blocks(0, 16), nsid=1, prp1=DATA + 0x4000 + 0x3000, prp2=DATA + 0x8000
    )
    assert done.status == Status.SUCCESS
    assert drive.memory[DATA + 0x7000 : DATA + 0x9000] == drive.memory[DATA : DATA + 2 * PAGE]
    done = queue.run(Io.READ, *blocks(0, 16), nsid=1, prp1=DATA + 0x3000, prp2=DATA + 0x1000)
    assert done.status == Status.INVALID_PRP_OFFSET


def test_shutting_down_makes_all_durable(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    drive.enable()
    drive.write(CC, ENABLE | 1 << 14)
    drive.wait_for(2 << 2, 3 << 2)
    assert synced == [drive.model.namespaces[1].backing.fd]
    assert drive.read(CSTS) & RDY
    drive.disable()
    assert drive.read(CSTS) == 0
    drive.enable()


def test_however_often_it_is_shut_down(drive: Driver, slow: Slow) -> None:
    """It flushes once at a time, and once more for those that came meanwhile."""
    drive.enable()
    for _ in range(100):
        drive.write(CC, ENABLE | 1 << 14)
        drive.write(CC, ENABLE)
    drive.write(CC, ENABLE | 1 << 14)
    assert slow.begun.acquire(timeout=LIMIT)
    slow.go_on.release()
    assert slow.begun.acquire(timeout=LIMIT)
    assert drive.read(CSTS) & 3 << 2 == 1 << 2, "what was written meanwhile is not durable yet"
    slow.go_on.release()
    drive.wait_for(2 << 2, 3 << 2)
    assert not slow.begun.acquire(timeout=0.05)


def test_shutting_down_what_can_not_be_durable(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdatasync(_fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    queue = drive.ready()
    done = queue.run(Io.FLUSH, nsid=1)
    assert (done.status, done.dnr) == (Status.WRITE_FAULT, True)
    drive.write(CC, ENABLE | 1 << 14)
    drive.wait_for(2 << 2 | CFS, 3 << 2 | CFS)


def test_queues_in_memory_that_is_not_there(drive: Driver) -> None:
    drive.write(AQA, 0x1F001F)
    drive.write(ASQ, 1 << 40, 8)
    drive.write(CC, ENABLE)
    assert drive.read(CSTS) == RDY
    drive.ring(0, 1)
    drive.wait_for(RDY | CFS, RDY | CFS)
    drive.ring(0, 2)
    drive.disable()
    assert drive.read(CSTS) == 0
    drive.ready()


def test_without_bus_mastering_it_breaks(drive: Driver) -> None:
    drive.enable()
    drive.command(0)
    drive.admin.submit(Admin.IDENTIFY, 1, prp1=DATA)
    drive.admin.ring()
    drive.wait_for(CFS, CFS)


def test_interrupts_of_msix_are_one_for_many_completions(drive: Driver) -> None:
    queue = drive.ready()
    with drive.model.lock:  # so that it fetches them together
        for cid in range(20):
            queue.submit(Io.READ, *blocks(cid, 1), nsid=1, prp1=DATA, cid=cid)
        queue.ring()
    assert [done.cid for done in queue.wait(20)] == list(range(20))
    deadline = time.monotonic() + LIMIT
    while not (count := drive.vectors[1].read()):
        assert time.monotonic() < deadline
    assert count == 1


def test_intx_is_up_while_there_are_completions(drive: Driver) -> None:
    drive.model.set_irqs(VFIO_PCI_MSIX_IRQ_INDEX, 0x20, 0, 0, None)
    with EventFd() as intx:
        drive.model.set_triggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [intx.fileno()])
        drive.enable()
        drive.admin.submit(Admin.IDENTIFY, 1, prp1=DATA)
        drive.admin.ring()
        assert intx.wait(LIMIT)
        line = drive.model._interrupts.intx
        assert line.level
        drive.write(0x0C, 1)  # INTMS
        assert (line.level, drive.read(0x0C), drive.read(0x10)) == (False, 1, 1)
        drive.write(0x10, 1)  # INTMC
        assert line.level
        assert len(drive.admin.reap()) == 1
        assert not line.level


def test_a_full_completion_queue_holds_up_and_no_more(drive: Driver) -> None:
    drive.enable()
    queue = drive.create(entries=4)
    engine = drive.model._engine
    assert engine is not None
    done: list[int] = []
    for first in range(0, 60, 6):
        for half in (first, first + 3):
            for cid in range(half, half + 3):
                queue.submit(Io.READ, *blocks(cid, 1), nsid=1, prp1=DATA, cid=cid)
            queue.ring()
            deadline = time.monotonic() + LIMIT
            while engine.cqs[1].used < 3:
                assert time.monotonic() < deadline
                time.sleep(0.0002)
        time.sleep(0.002)
        assert engine.sqs[1].in_flight == 0, "there is no room for what would come of them"
        assert engine.sqs[1].head != engine.sqs[1].tail
        done += [one.cid for one in queue.wait(6)]
    assert done == list(range(60))


class TestFiles:
    def test_namespaces_are_files(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a.img", tmp_path / "b.img"]
        for size, path in enumerate(paths, 1):
            path.write_bytes(bytes([size]) * (size << 16))
        with Driver(Nvme(files=[str(path) for path in paths], block_size=4096)) as drive:
            queue = drive.ready()
            for nsid in (1, 2):
                done = queue.run(Io.READ, *blocks(0, 1), nsid=nsid, prp1=DATA)
                assert done.status == Status.SUCCESS
                assert drive.memory[DATA : DATA + PAGE] == bytes([nsid]) * PAGE
                assert drive.identify(0, nsid)[:8] == (nsid << 4).to_bytes(8, "little")
                drive.memory[DATA : DATA + PAGE] = b"\xab" * PAGE
                done = queue.run(Io.WRITE, *blocks(1, 1), nsid=nsid, prp1=DATA)
                assert done.status == Status.SUCCESS
                assert queue.run(Io.FLUSH, nsid=nsid).status == Status.SUCCESS
            serial = drive.model.serial
        for path in paths:
            assert path.read_bytes()[PAGE : 2 * PAGE] == b"\xab" * PAGE
        with Nvme(files=[str(paths[0])]) as again:
            assert again.serial == serial

    def test_read_only(self, tmp_path: Path) -> None:
        path = tmp_path / "a.img"
        path.write_bytes(bytes(1 << 16))
        with Driver(Nvme(files=[str(path)], read_only=True)) as drive:
            queue = drive.ready()
            assert drive.identify(0, 1)[99] == 1
            for opcode in (Io.WRITE, Io.WRITE_ZEROES):
                done = queue.run(opcode, *blocks(0, 1), nsid=1, prp1=DATA)
                assert (done.status, done.dnr) == (Status.NAMESPACE_WRITE_PROTECTED, True)
            drive.memory[DATA : DATA + 16] = b"\0\0\0\0\1\0\0\0" + bytes(8)
            done = queue.run(Io.DATASET_MANAGEMENT, 0, 4, nsid=1, prp1=DATA)
            assert done.status == Status.NAMESPACE_WRITE_PROTECTED
            assert queue.run(Io.FLUSH, nsid=1).status == Status.SUCCESS

    def test_a_file_that_becomes_shorter(self, tmp_path: Path) -> None:
        path = tmp_path / "a.img"
        path.write_bytes(bytes(1 << 16))
        with Driver(Nvme(files=[str(path)])) as drive:
            queue = drive.ready()
            os.truncate(path, 512)
            done = queue.run(Io.READ, *blocks(0, 2), nsid=1, prp1=DATA)
            assert (done.status, done.dnr) == (Status.READ_ERROR, False)
            assert queue.run(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA).status == Status.SUCCESS

    def test_reads_that_would_wait_are_done_elsewhere(
        self, drive: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def would_wait(*_: object) -> bool:
            return False

        monkeypatch.setattr(backings.Backing, "read_quickly", would_wait)
        queue = drive.ready()
        drive.memory[DATA : DATA + 512] = b"\x5a" * 512
        assert queue.run(Io.WRITE, *blocks(3, 1), nsid=1, prp1=DATA).status == 0
        assert queue.run(Io.READ, *blocks(3, 1), nsid=1, prp1=DATA + PAGE).status == 0
        assert drive.memory[DATA + PAGE : DATA + PAGE + 512] == b"\x5a" * 512

    def test_a_file_is_one_drive_or_read_only(self, tmp_path: Path) -> None:
        path = tmp_path / "a.img"
        path.write_bytes(bytes(1 << 16))
        with Nvme(files=[str(path)]):
            for read_only in (True, False):
                with pytest.raises(ModelError, match="it is another drive already"):
                    Nvme(files=[str(path)], read_only=read_only)
        with Nvme(files=[str(path)], read_only=True), Nvme(files=[str(path)], read_only=True):
            pass

    def test_files_that_can_not_be_had(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.img"
        empty.touch()
        missing = tmp_path / "missing.img"
        for path, told in (
            (empty, "are less than a block of 512; make it larger"),
            (missing, f"create it first, as with `truncate -s 1G {missing}`"),
            (tmp_path, "name a file or a block device"),
            (Path("/dev/null"), "it is neither a file nor a block device"),
        ):
            with pytest.raises(ModelError) as caught:
                Nvme(files=[str(path)])
            assert told in str(caught.value)
        with pytest.raises(ModelError, match="blocks of 520 bytes"):
            Nvme(block_size=520)


def test_many_queues_and_a_reset_under_load(drive: Driver) -> None:
    drive.enable()
    queues = [drive.create(id) for id in (1, 2, 3)]
    for _ in range(5):
        for queue in queues:
            for cid in range(31):
                queue.submit(Io.WRITE if cid % 2 else Io.READ, *blocks(cid, 8), nsid=1, prp1=DATA)
            queue.ring()
        drive.disable()
        drive.enable()
        queues = [drive.create(id) for id in (1, 2, 3)]
    for queue in queues:
        assert queue.run(Io.FLUSH, nsid=1).status == Status.SUCCESS
