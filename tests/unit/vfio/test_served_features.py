# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Features, migration data and coalesced writes in bytes: our server before a scripted client."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio import MigrationState as State
from tests.unit.vfio.fakes import (
    F_NO_REPLY,
    REGION_READ,
    RESET,
    VERSION,
    Peer,
)
from tests.unit.vfio.migrating import (
    DEVICE_FEATURE,
    MIG_DATA_READ,
    MIG_DATA_WRITE,
    WRITE_MULTI,
    MigratingDevice,
)

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
MIGRATION, MIG_STATE, START, STOP_LOG, REPORT, DATA_SIZE = 1, 2, 6, 7, 8, 9
BAR0, CONFIG = 0, 7


@pytest.fixture
def device() -> Iterator[MigratingDevice]:
    with MigratingDevice() as device:
        yield device


def feature(flags: int, data: bytes = b"", *, room: int = 64) -> bytes:
    return struct.pack("=II", 8 + room, flags) + data


def to(state: int) -> bytes:
    return feature(SET | MIG_STATE, struct.pack("=Ii", state, -1))


def test_probing(peer: Peer) -> None:
    for flags in (
        PROBE | MIGRATION,
        PROBE | GET | MIGRATION,
        PROBE | GET | SET | MIG_STATE,
        PROBE | SET | START,
        PROBE | GET | REPORT,
    ):
        assert peer.answered(DEVICE_FEATURE, feature(flags)) == feature(flags)
    for flags in (PROBE | SET | MIGRATION, PROBE | GET | SET | START, PROBE | 0, PROBE | 0xFFFF):
        assert peer.refused(DEVICE_FEATURE, feature(flags)) == errno.ENOTTY


def test_getting(peer: Peer) -> None:
    answer = peer.answered(DEVICE_FEATURE, feature(GET | MIGRATION))
    assert answer == struct.pack("=IIQ", 16, GET | MIGRATION, 0b101)
    answer = peer.answered(DEVICE_FEATURE, feature(GET | MIG_STATE))
    assert answer == struct.pack("=IIIi", 16, GET | MIG_STATE, State.RUNNING, -1)
    answer = peer.answered(DEVICE_FEATURE, feature(GET | DATA_SIZE))
    assert answer == struct.pack("=IIQ", 16, GET | DATA_SIZE, 100)
    # Without room for all of it, the answer is how much it takes.
    answer = peer.answered(DEVICE_FEATURE, feature(GET | MIGRATION, room=7))
    assert answer == struct.pack("=II", 16, GET | MIGRATION)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        struct.pack("=I", 8),
        struct.pack("=II", 7, GET | MIGRATION),
        feature(MIGRATION),
        feature(GET | SET | MIG_STATE),
        feature(1 << 19 | GET | MIGRATION),
        feature(SET | MIG_STATE),
        feature(SET | MIG_STATE, bytes(9)),
        to(99),
        to(State.ERROR),
        to(State.RUNNING_P2P),
        to(State.PRE_COPY_P2P),
        feature(SET | START),
        feature(SET | START, struct.pack("=QII", 4096, 1, 0)),
        feature(SET | START, struct.pack("=QII", 4096, 0xFFFFFFFF, 0)),
        feature(SET | START, struct.pack("=QII", 0, 0, 0)),
        feature(SET | START, struct.pack("=QIIQQ", 4096, 1, 0, (1 << 64) - 4096, 8192)),
        feature(GET | REPORT),
        feature(GET | REPORT, struct.pack("=QQQ", 0, 4096, 0)),
        feature(GET | REPORT, struct.pack("=QQQ", 0, 0, 4096)),
        feature(GET | REPORT, struct.pack("=QQQ", 0, 4096, 4097)),
        feature(GET | REPORT, struct.pack("=QQQ", 0, (1 << 64) - 1, 1)),
    ],
)
def test_what_makes_no_sense(peer: Peer, device: MigratingDevice, payload: bytes) -> None:
    assert peer.refused(DEVICE_FEATURE, payload) == errno.EINVAL
    assert device.fake_migration.state == State.RUNNING
    assert device.log.started is None


def test_a_feature_of_others(peer: Peer) -> None:
    assert peer.refused(DEVICE_FEATURE, feature(GET | 0)) == errno.ENOTTY
    assert peer.refused(DEVICE_FEATURE, feature(SET | MIGRATION, bytes(8))) == errno.ENOTTY


def test_migration_data(peer: Peer, device: MigratingDevice) -> None:
    assert peer.answered(DEVICE_FEATURE, to(State.STOP_COPY)) == to(State.STOP_COPY)
    answer = peer.answered(MIG_DATA_READ, struct.pack("=II", 8 + 64, 64))
    assert answer == struct.pack("=II", 72, 64) + bytes(range(64)), "pieces are put together"
    # As libvfio-user's own tests have it: more room than is asked for.
    answer = peer.answered(MIG_DATA_READ, struct.pack("=II", 4096, 64))
    assert answer == struct.pack("=II", 44, 36) + bytes(range(64, 100)) + bytes(28)
    answer = peer.answered(MIG_DATA_READ, struct.pack("=II", 72, 64))
    assert answer == struct.pack("=II", 8, 0) + bytes(64)


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (MIG_DATA_READ, b""),
        (MIG_DATA_READ, struct.pack("=II", 8, 1)),
        (MIG_DATA_READ, struct.pack("=II", 0xFFFFFFFF, (1 << 20) + 1)),
        (MIG_DATA_WRITE, struct.pack("=II", 9, 1)),
        (MIG_DATA_WRITE, struct.pack("=II", 8, 1) + b"x"),
        (MIG_DATA_WRITE, struct.pack("=II", 0xFFFFFFFF, 0xFFFFFFFF) + b"x"),
    ],
)
def test_migration_data_that_makes_no_sense(peer: Peer, command: int, payload: bytes) -> None:
    peer.answered(DEVICE_FEATURE, to(State.STOP_COPY))
    assert peer.refused(command, payload) == errno.EINVAL


@pytest.mark.parametrize("state", [State.RUNNING, State.STOP])
def test_migration_data_in_other_states(peer: Peer, state: State) -> None:
    peer.answered(DEVICE_FEATURE, to(State.STOP_COPY))
    peer.answered(DEVICE_FEATURE, to(state))
    assert peer.refused(MIG_DATA_READ, struct.pack("=II", 9, 1)) == errno.EINVAL
    assert peer.refused(MIG_DATA_WRITE, struct.pack("=II", 9, 1) + b"x") == errno.EINVAL


def test_migration_data_after_a_reset(peer: Peer) -> None:
    peer.answered(DEVICE_FEATURE, to(State.RESUMING))
    peer.answered(MIG_DATA_WRITE, struct.pack("=II", 9, 1) + b"x")
    peer.answered(RESET)
    assert peer.refused(MIG_DATA_WRITE, struct.pack("=II", 9, 1) + b"x") == errno.EINVAL


def test_a_log(peer: Peer, device: MigratingDevice) -> None:
    """The granularity may be another than asked for; and a report without room forgets nothing."""
    start = struct.pack("=QIIQQ", 4096, 1, 0, 0x10000, 0x10000)
    answer = peer.answered(DEVICE_FEATURE, feature(SET | START, start))
    assert answer == feature(SET | START, struct.pack("=Q", 8192) + start[8:])
    assert device.log.started == ([Interval(0x10000, 0x20000)], 4096)
    device.log.dirty = (Interval(0x11000, 0x12000), Interval(0x1F000, 0x20000))
    asked = struct.pack("=QQQ", 0x10000, 0x10000, 4096)
    answer = peer.answered(DEVICE_FEATURE, feature(GET | REPORT, asked, room=24))
    assert answer == struct.pack("=II", 40, GET | REPORT)
    answer = peer.answered(DEVICE_FEATURE, feature(GET | REPORT, asked, room=32))
    assert answer == struct.pack("=II", 40, GET | REPORT) + asked + struct.pack("=Q", 0x8002)
    stop = feature(SET | STOP_LOG)
    assert peer.answered(DEVICE_FEATURE, stop) == stop
    assert device.log.started is None


def test_a_migration_that_fails(peer: Peer, device: MigratingDevice) -> None:
    device.fake_migration.fails = DeviceError.answered("stopping", errno.EBUSY)
    assert peer.refused(DEVICE_FEATURE, to(State.STOP)) == errno.EBUSY
    assert peer.answered(DEVICE_FEATURE, feature(GET | MIG_STATE))[8:12] == bytes(4)


def write(offset: int, region: int, data: bytes, count: int | None = None) -> bytes:
    return struct.pack("=QII8s", offset, region, len(data) if count is None else count, data)


def multi(*writes: bytes, count: int | None = None) -> bytes:
    return struct.pack("=Q", len(writes) if count is None else count) + b"".join(writes)


def test_writes_at_once(peer: Peer, device: MigratingDevice) -> None:
    order: list[tuple[int, int, bytes]] = []
    device.on_write = lambda *write: order.append(write)
    writes = write(0, BAR0, b"first"), write(4, BAR0, b"2"), write(8, CONFIG, b"12345678")
    assert peer.answered(WRITE_MULTI, multi(*writes)) == struct.pack("=Q", 3)
    assert order == [(BAR0, 0, b"first"), (BAR0, 4, b"2"), (CONFIG, 8, b"12345678")]
    assert peer.answered(WRITE_MULTI, multi()) == struct.pack("=Q", 0)


def test_posted_writes_at_once_are_done_by_the_next_answer(
    peer: Peer, device: MigratingDevice
) -> None:
    """As QEMU's client sends them; and one that makes no sense is not answered either."""
    peer.send(WRITE_MULTI, multi(write(0, BAR0, b"1234")), flags=F_NO_REPLY)
    peer.send(WRITE_MULTI, multi(count=7), flags=F_NO_REPLY)
    read = struct.pack("=QII", 0, BAR0, 4)
    assert peer.answered(REGION_READ, read) == read + b"1234"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        struct.pack("=I", 0),
        multi(count=1),
        multi(count=(1 << 64) - 1),
        multi(write(0, BAR0, b"1"), count=2),
        multi(write(0, BAR0, b"1")) + b"x",
        multi(write(0, BAR0, b"1"), write(0, BAR0, b"12345678", 9)),
        multi(write(0, BAR0, b"1"), write(0x400000, BAR0, b"1")),
        multi(write(0, BAR0, b"1"), write((1 << 64) - 1, BAR0, b"1")),
        multi(write(0, BAR0, b"1"), write(0, 99, b"1")),
        multi(write(0, BAR0, b"1"), write(0, 5, b"1")),
    ],
)
def test_of_writes_that_make_no_sense_none_is_done(
    peer: Peer, device: MigratingDevice, payload: bytes
) -> None:
    assert peer.refused(WRITE_MULTI, payload) == errno.EINVAL
    assert device.bytes[BAR0][0] == 0


def test_writes_that_the_device_refuses(peer: Peer, device: MigratingDevice) -> None:
    def refuse(index: int, offset: int, data: bytes) -> None:
        if offset == 4:
            raise DeviceError.answered("writing", errno.EPERM)

    device.on_write = refuse
    one, two = write(0, BAR0, b"1"), write(4, BAR0, b"2")
    assert peer.answered(WRITE_MULTI, multi(one, two, one)) == struct.pack("=Q", 1)
    assert peer.refused(WRITE_MULTI, multi(two, one)) == errno.EPERM


def test_coalescing_is_agreed_on_if_the_client_proposes_it(stranger: Peer) -> None:
    """As QEMU does, which has no room for an answer longer than its request."""
    proposed = (
        b'{"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576, '
        b'"max_dma_maps": 65535, "pgsizes": 4096, "migration": {"pgsize": 4096, '
        b'"max_bitmap_size": 268435456}, "write_multiple": true}}\0'
    )
    answer = stranger.answered(VERSION, struct.pack("=HH", 0, 0) + proposed)
    assert answer == struct.pack("=HH", 0, 0) + (
        b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":16384,'
        b'"write_multiple":true}}\0'
    )
    assert len(answer) < len(proposed)
