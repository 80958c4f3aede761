# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Commands that wait for files: aborted, reset, deleted and outrun meanwhile."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from pyvmm.models.backing import Backing
from pyvmm.models.nvme import Nvme
from pyvmm.models.nvme.engine import BURST, MOST_DEFERRED
from pyvmm.vfio import VfioError

from .conftest import Slow
from .driver import (
    CC,
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


def test_a_controller_reset_waits_for_what_is_under_way(drive: Driver, slow: Slow) -> None:
    queue = drive.ready()
    queue.submit(Io.FLUSH, nsid=1, cid=7)
    queue.ring()
    assert slow.begun.acquire(timeout=LIMIT)
    drive.write(CC, 0)
    drive.write(CC, ENABLE)  # too soon: it is done when the first reset is
    time.sleep(0.01)
    assert drive.read(CSTS) & RDY
    drive.write(CC, 0)
    slow.go_on.release()
    drive.wait_for(0)
    assert queue.reap() == [], "nobody is told of what a reset has ended"
    drive.ready()


def test_what_is_aborted(drive: Driver, slow: Slow) -> None:
    """What has not begun never does; what has isn't stopped."""
    queue = drive.ready()
    for cid in range(20):
        queue.submit(Io.FLUSH, nsid=1, cid=cid)
    queue.ring()
    begun = 0
    while slow.begun.acquire(timeout=0.2 if begun else LIMIT):
        begun += 1
    assert begun < 20, "no more at once than there are threads"
    assert drive.admin.run(Admin.ABORT, 0 << 16 | queue.id).result == 1, "it is under way"
    for cid in (19, 17):
        assert drive.admin.run(Admin.ABORT, cid << 16 | queue.id).result == 0
        (done,) = queue.wait()
        assert (done.cid, done.status, done.dnr) == (cid, Status.ABORT_REQUESTED, False)
        assert drive.admin.run(Admin.ABORT, cid << 16 | queue.id).result == 1, "it is over"
    for _ in range(18):
        slow.go_on.release()
    assert sorted((done.cid, done.status) for done in queue.wait(18)) == [
        (cid, 0) for cid in range(19) if cid != 17
    ]
    assert queue.run(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA).status == 0


def test_what_no_thread_was_found_for_is_over(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can abort it any more."""
    queue = drive.ready()
    start = drive.model.start

    def no_thread(work: Any, done: Any = None, *, waits: bool = False) -> None:
        if waits:
            raise VfioError("can't start a thread")
        start(work, done)

    monkeypatch.setattr(drive.model, "start", no_thread)
    assert queue.run(Io.FLUSH, nsid=1, cid=7).status == Status.INTERNAL_ERROR
    assert drive.admin.run(Admin.ABORT, 7 << 16 | queue.id).result == 1
    assert queue.reap() == []
    drive.disable()
    assert drive.read(CSTS) == 0


def test_a_function_reset_in_the_midst(drive: Driver, slow: Slow) -> None:
    queue = drive.ready()
    queue.submit(Io.FLUSH, nsid=1)
    queue.ring()
    assert slow.begun.acquire(timeout=LIMIT)
    drive.model.reset()
    assert (drive.read(CC), drive.read(CSTS)) == (0, 0)
    slow.go_on.release()
    drive.ready()
    assert queue.reap() == []


def test_a_function_reset_while_a_file_changes(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for before comes before all that is asked for after."""
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    zero = Backing.write_zeroes

    def write_zeroes(backing: Backing, offset: int, size: int, *, deallocate: bool) -> None:
        begun.release()
        assert go_on.acquire(timeout=LIMIT)
        zero(backing, offset, size, deallocate=deallocate)

    monkeypatch.setattr(Backing, "write_zeroes", write_zeroes)
    queue = drive.ready()
    queue.submit(Io.WRITE_ZEROES, *blocks(0, 8), nsid=1)
    queue.submit(Io.WRITE_ZEROES, *blocks(8, 8), nsid=1)
    queue.ring()
    for _ in range(2):
        assert begun.acquire(timeout=LIMIT)
    drive.model.reset()
    drive.memory[DATA : DATA + 16 * 512] = b"new!" * (16 * 128)
    drive.begin_to_enable()
    go_on.release()
    time.sleep(0.01)
    assert drive.read(CSTS) == 0, "the other one is still under way"
    go_on.release()
    drive.wait_for(RDY)
    queue = drive.create()
    done = queue.run(Io.WRITE, *blocks(0, 16), nsid=1, prp1=DATA, prp2=DATA + PAGE)
    assert done.status == Status.SUCCESS
    backing = drive.model.namespaces[1].backing
    assert backing.read(0, 16 * 512) == b"new!" * (16 * 128)


def test_a_function_reset_before_a_file_changes(drive: Driver, slow: Slow) -> None:
    """What has not begun by then never does."""
    queue = drive.ready()
    for cid in range(Nvme.waiters):
        queue.submit(Io.FLUSH, nsid=1, cid=cid)
    queue.submit(Io.WRITE_ZEROES, *blocks(0, 8), nsid=1)
    queue.ring()
    for _ in range(Nvme.waiters):
        assert slow.begun.acquire(timeout=LIMIT)
    drive.model.reset()
    backing = drive.model.namespaces[1].backing
    os.pwrite(backing.fd, b"new!", 0)
    slow.go_on.release(Nvme.waiters + 1)
    queue = drive.ready()
    assert queue.run(Io.FLUSH, nsid=1).status == Status.SUCCESS, "it is behind all others"
    assert backing.read(0, 4) == b"new!"


def test_a_queue_is_deleted_with_commands_in_flight(drive: Driver, slow: Slow) -> None:
    queue = drive.ready()
    for cid in range(3):
        queue.submit(Io.FLUSH, nsid=1, cid=cid)
    queue.ring()
    for _ in range(3):
        assert slow.begun.acquire(timeout=LIMIT)
    drive.admin.submit(Admin.DELETE_SQ, 1, cid=9)
    drive.admin.ring()
    assert drive.admin.run(Admin.DELETE_SQ, 1, cid=10).status == Status.INVALID_QUEUE_ID
    assert drive.admin.run(Admin.DELETE_CQ, 1).status == Status.INVALID_QUEUE_DELETION
    slow.go_on.release(3)
    (deleted,) = drive.admin.wait()
    assert (deleted.cid, deleted.status) == (9, Status.SUCCESS)
    assert {done.cid for done in queue.reap()} == {0, 1, 2}
    assert drive.admin.run(Admin.DELETE_CQ, 1).status == Status.SUCCESS
    drive.create()


def test_others_go_on_while_many_wait_for_files(drive: Driver, slow: Slow) -> None:
    queue = drive.ready()
    for cid in range(20):
        queue.submit(Io.FLUSH, nsid=1, cid=cid)
    queue.ring()
    try:
        for _ in range(Nvme.waiters):
            assert slow.begun.acquire(timeout=LIMIT)
        assert drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA).status == Status.SUCCESS
        queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=99)
        queue.ring()
        assert [done.cid for done in queue.wait()] == [99]
    finally:
        slow.go_on.release(20)
    assert {done.cid for done in queue.wait(20)} == set(range(20))


def test_no_more_wait_than_so_many(drive: Driver, slow: Slow) -> None:
    drive.enable()
    queues = [drive.create(id, entries=128) for id in (1, 2, 3)]
    for queue in queues:
        for cid in range(127):
            queue.submit(Io.FLUSH, nsid=1, cid=cid)
        queue.ring()
    assert slow.begun.acquire(timeout=LIMIT)
    engine = drive.model._engine
    assert engine is not None
    deadline = time.monotonic() + LIMIT
    while sum(queue.in_flight for queue in engine.sqs.values()) < MOST_DEFERRED:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.01)
    assert sum(queue.in_flight for queue in engine.sqs.values()) < MOST_DEFERRED + BURST
    assert drive.admin.run(Admin.IDENTIFY, 1, prp1=DATA).status == Status.SUCCESS
    slow.go_on.release(3 * 127)
    for queue in queues:
        assert {done.cid for done in queue.wait(127)} == set(range(127))
