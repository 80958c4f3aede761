# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A server's log of DMA that reports as libvfio-user does: whole mappings, in pages of its own."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.dirty_bitmap import pack_dirty
from pyvmm.vfio.intervals import Intervals, align_outwards, intersect, merge, subtract
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_WRITE,
    F_REPLY,
    PATIENCE,
    REGION_READ,
    Answer,
    Received,
    Script,
)
from tests.unit.vfio.migrating import DEVICE_FEATURE

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
START, STOP, REPORT = 6, 7, 8
PAGE = 4096
FIRST, SECOND = Interval(0x100000, 0x140000), Interval(0x140000, 0x160000)
BY_MESSAGE = Interval(0x200000, 0x204000)


class Server:
    """Of a device with three mappings, of which it reaches the last by message alone."""

    def __init__(self, script: Script) -> None:
        self.dirty: Intervals = ()
        self.page = 0
        self.asked: list[tuple[Interval, int]] = []
        script.answers[DEVICE_FEATURE] = self.feature
        script.answers[DMA_MAP] = b""

    def feature(self, asked: Received) -> Answer:
        argsz, flags = struct.unpack_from("=II", asked.payload)
        if flags & PROBE or flags == SET | STOP:
            return asked.payload
        if flags == SET | START:
            self.page = max(PAGE, struct.unpack_from("=Q", asked.payload, 8)[0])
            return asked.payload[:8] + struct.pack("=Q", self.page) + asked.payload[16:]
        assert flags == GET | REPORT
        iova, size, page = struct.unpack_from("=QQQ", asked.payload, 8)
        within = Interval.sized(iova, size)
        self.asked.append((within, page))
        if within == BY_MESSAGE:
            return errno.EINVAL
        if within not in (FIRST, SECOND):
            covered = any(each.covers(within) for each in (FIRST, SECOND))
            return errno.EOPNOTSUPP if covered else b""  # an error of which errno has nothing
        assert page == self.page, "it would be wrong, or never end"
        bitmap = pack_dirty(intersect(self.dirty, (within,)), within, page)
        self.dirty = subtract(self.dirty, (within,))
        return struct.pack("=I", argsz) + asked.payload[4:] + bitmap


class Logged(NamedTuple):
    client: Client
    server: Server
    script: Script


@pytest.fixture
def logged(ours_and_script: tuple[socket.socket, Script], file: int) -> Iterator[Logged]:
    ours, script = ours_and_script
    server = Server(script)
    with Client(ours, "server", timeout=PATIENCE) as client:
        memory = bytearray(BY_MESSAGE.size)
        address = (ctypes.c_char * len(memory)).from_buffer(memory)
        for each in (FIRST, SECOND):
            client.dma.map(each.start, each.size, address=0, fd=file)
        client.dma.map(BY_MESSAGE.start, BY_MESSAGE.size, address=ctypes.addressof(address))
        yield Logged(client, server, script)


def write_by_message(logged: Logged, iova: int, size: int) -> None:
    """The server writes memory, before it answers a read."""

    def answer(asked: Received) -> Answer:
        peer = logged.script.peer
        peer.send(DMA_WRITE, struct.pack("=QQ", iova, size) + bytes(size), id=7)
        reply = peer.receive()
        assert (reply.id, reply.flags) == (7, F_REPLY)
        return asked.payload + bytes(4)

    logged.script.answers[REGION_READ] = answer
    logged.client.region_read(0, 0, 4)


def test_a_range_over_two_mappings(logged: Logged) -> None:
    log = logged.client.dma_logging
    assert log.start([FIRST, SECOND]) == PAGE
    logged.server.dirty = (Interval(0x13F000, 0x141000), Interval(0x15F000, 0x160000))
    assert log.report(Interval(0x130000, 0x150000)) == (Interval(0x13F000, 0x141000),)
    assert logged.server.asked == [(FIRST, PAGE), (SECOND, PAGE)]
    # What was told beyond that is not forgotten.
    assert log.report(Interval(0x150000, 0x160000)) == (Interval(0x15F000, 0x160000),)
    assert log.report(Interval(0x150000, 0x160000)) == ()


@pytest.mark.parametrize(("taken", "asked"), [(PAGE, 4 * PAGE), (4 * PAGE, PAGE)])
def test_pages_of_another_size(logged: Logged, taken: int, asked: int) -> None:
    """It is always asked for its own."""
    log = logged.client.dma_logging
    assert log.start([FIRST], taken) == taken
    logged.server.dirty = (Interval(0x105000, 0x106000),)
    assert log.report(FIRST, asked) == (Interval(0x104000, 0x108000),)


def test_what_is_written_by_message(logged: Logged) -> None:
    """The server has no log of that, nor of memory whose file it hasn't got."""
    log = logged.client.dma_logging
    write_by_message(logged, BY_MESSAGE.start, 16)
    log.start([FIRST, BY_MESSAGE])
    write_by_message(logged, BY_MESSAGE.start + PAGE - 8, 16)
    logged.server.dirty = (Interval(0x105000, 0x106000),)
    both = Interval(FIRST.start, BY_MESSAGE.end)
    first_two = Interval.sized(BY_MESSAGE.start, 2 * PAGE)
    assert log.report(both) == (Interval(0x105000, 0x106000), first_two)
    assert log.report(both) == ()
    for _ in range(2):
        write_by_message(logged, BY_MESSAGE.start, 16)
    log.stop()
    log.start([FIRST, BY_MESSAGE])
    assert log.report(both) == ()


def test_what_is_written_before_the_server_says_that_it_logs(logged: Logged) -> None:
    feature = logged.server.feature

    def writes_first(asked: Received) -> Answer:
        if struct.unpack_from("=I", asked.payload, 4)[0] == SET | START:
            peer = logged.script.peer
            peer.send(DMA_WRITE, struct.pack("=QQ", BY_MESSAGE.start, 4) + bytes(4), id=7)
            assert peer.receive().id == 7
        return feature(asked)

    logged.script.answers[DEVICE_FEATURE] = writes_first
    log = logged.client.dma_logging
    log.start([BY_MESSAGE])
    assert log.report(BY_MESSAGE) == (Interval.sized(BY_MESSAGE.start, PAGE),)


def test_memory_that_is_not_mapped(logged: Logged) -> None:
    log = logged.client.dma_logging
    log.start([FIRST])
    with pytest.raises(DeviceError, match="REPORT"):
        log.report(Interval(0x900000, 0x901000))
    assert logged.client.gone is None


PAGES = st.sets(st.integers(FIRST.start // PAGE, SECOND.end // PAGE - 1), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rounds=st.lists(st.tuples(PAGES, st.integers(0, 95), st.integers(1, 96)), max_size=6))
def test_nothing_is_lost(logged: Logged, rounds: list[tuple[set[int], int, int]]) -> None:
    """Each page that is written is told of, once, by the first report that has it."""
    log = logged.client.dma_logging
    log.stop()
    log.start([FIRST, SECOND])
    logged.server.dirty = ()
    wanted: Intervals = ()
    for pages, start, count in rounds:
        written = merge(Interval.sized(page * PAGE, PAGE) for page in pages)
        logged.server.dirty = merge([*logged.server.dirty, *written])
        wanted = merge([*wanted, *written])
        within = Interval.sized(FIRST.start + start * PAGE, count * PAGE)
        assert log.report(within) == align_outwards(intersect(wanted, (within,)), PAGE)
        wanted = subtract(wanted, (within,))
