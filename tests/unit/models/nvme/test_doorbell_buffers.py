# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbell buffers: doorbells in memory, which the guest need not ring."""

from __future__ import annotations

import os
import struct
import threading
import time

import pytest

from pyvmm.models.nvme import Nvme
from pyvmm.models.nvme.engine import Engine
from pyvmm.models.nvme.shadow import ShadowDoorbells
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

    def test_a_doorbell_while_the_buffer_is_read(
        self, drive: Driver, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last time before it rests: what was read is older than the doorbell."""
        drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
        dma_read, model = drive.model.dma_read, drive.model
        rung = threading.Event()

        def submit(cid: int) -> None:
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=cid)
            struct.pack_into("<I", drive.memory, self.SHADOW + 8, queue.tail)

        def read(iova: int, size: int) -> bytes:
            data = dma_read(iova, size)
            (asked,) = struct.unpack_from("<I", drive.memory, self.INDEXES + 8)
            if iova == self.SHADOW and asked == 1 and not rung.is_set():
                rung.set()
                submit(2)
                queue.ring()
            return data

        monkeypatch.setattr(model, "dma_read", read)
        submit(1)
        queue.ring()
        assert {done.cid for done in queue.wait(2)} == {1, 2}

    def test_a_completion_is_consumed_while_the_buffer_is_read(
        self, drive: Driver, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was read of its head is older than the doorbell, and no driver's mistake."""
        drive.admin.run(Admin.DOORBELL_BUFFER_CONFIG, prp1=self.SHADOW, prp2=self.INDEXES)
        dma_read, armed = drive.model.dma_read, threading.Event()

        def shadow() -> None:
            at = self.SHADOW + 8
            struct.pack_into("<II", drive.memory, at, queue.tail, queue.head)

        def submit(cid: int) -> None:
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=cid)
            shadow()
            queue.ring()

        def read(iova: int, size: int) -> bytes:
            data = dma_read(iova, size)
            if iova == self.SHADOW and armed.is_set():
                armed.clear()
                shadow()
                drive.ring(3, queue.head)
            return data

        monkeypatch.setattr(drive.model, "dma_read", read)
        submit(1)
        deadline = time.monotonic() + LIMIT
        while not queue.reap(acknowledge=False):
            assert time.monotonic() < deadline
        with drive.model.lock:
            queue.submit(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA, cid=2)
            struct.pack_into("<I", drive.memory, self.SHADOW + 8, queue.tail)
            armed.set()
            queue.ring()
        deadline = time.monotonic() + LIMIT
        while not queue.reap(acknowledge=False):
            assert time.monotonic() < deadline
        assert not armed.is_set()
        assert not drive.model.counters["a doorbell with a value that can't be"]

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
