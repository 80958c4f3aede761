# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The server, spoken to in bytes: the device, its regions, and what is refused."""

from __future__ import annotations

import contextlib
import errno
import os
import struct

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
)
from pyvmm.vfio import DeviceError, DmaFault, EventFd, IoEventFd
from tests.unit.vfio.fakes import (
    F_ERROR,
    F_NO_REPLY,
    F_REPLY,
    GET_INFO,
    GET_IRQ_INFO,
    GET_REGION_INFO,
    GET_REGION_IO_FDS,
    REGION_READ,
    REGION_WRITE,
    RESET,
    VERSION,
    FakeDevice,
    Peer,
)

BAR0, BAR2, CONFIG = 0, 2, 7
INTX, MSIX = 0, 2
TRIGGER_EVENTFD = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
TRIGGER_NONE = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE
TRIGGER_BOOL = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_BOOL


def test_version(stranger: Peer) -> None:
    payload = stranger.answered(VERSION, struct.pack("=HH", 0, 1) + b"{}\0")
    assert payload[:4] == struct.pack("=HH", 0, 1)
    assert payload[4:] == (
        b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":16384}}\0'
    )
    # What is left of the 214 bytes that QEMU's client has room for.
    assert 16 + len(payload) <= 214


@pytest.mark.parametrize(
    ("proposed", "answered"),
    # QEMU's client proposes 16 and takes a larger answer for a malformed one.
    [(0, 16), (1, 16), (16, 16), (17, 17), (253, 253), (254, 253), (1 << 40, 253)],
)
def test_the_client_may_send_as_many_fds_as_it_takes(
    stranger: Peer, proposed: int, answered: int
) -> None:
    proposal = b'{"capabilities":{"max_msg_fds":%d}}\0' % proposed
    payload = stranger.answered(VERSION, struct.pack("=HH", 0, 1) + proposal)
    assert b'"max_msg_fds":%d,' % answered in payload


@pytest.mark.parametrize(("proposed", "agreed"), [(0, 0), (1, 1), (2, 1), (65535, 1)])
def test_the_lower_minor_version_is_agreed_on(stranger: Peer, proposed: int, agreed: int) -> None:
    payload = stranger.answered(VERSION, struct.pack("=HH", 0, proposed))
    assert payload[:4] == struct.pack("=HH", 0, agreed)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\1",
        struct.pack("=HH", 1, 0) + b"{}\0",
        struct.pack("=HH", 0, 1) + b"no json\0",
        struct.pack("=HH", 0, 1) + b"[]\0",
        struct.pack("=HH", 0, 1) + b'{"capabilities": 1}\0',
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_msg_fds": "1"}}\0',
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_msg_fds": true}}\0',
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_msg_fds": -1}}\0',
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_data_xfer_size": 0}}\0',
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_data_xfer_size": 1e99}}\0',
        struct.pack("=HH", 0, 1) + b"[" * 100000 + b"\0",
        struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_msg_fds": ' + b"9" * 5000 + b"}}\0",
        struct.pack("=HH", 0, 1) + b"\xff\xfe\0",
    ],
)
def test_a_version_that_makes_no_sense(stranger: Peer, payload: bytes) -> None:
    assert stranger.refused(VERSION, payload) == errno.EINVAL
    assert stranger.answered(VERSION, struct.pack("=HH", 0, 1))


def test_nothing_before_version(stranger: Peer) -> None:
    for command in (*range(2, 14), 99):
        assert stranger.refused(command, bytes(64)) == errno.EINVAL
    stranger.answered(VERSION, struct.pack("=HH", 0, 1))


def test_one_version_only(peer: Peer) -> None:
    assert peer.refused(VERSION, struct.pack("=HH", 0, 1)) == errno.EINVAL
    assert peer.answered(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))


def test_get_info(peer: Peer) -> None:
    payload = peer.answered(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
    assert payload == struct.pack("=IIII", 16, 3, 9, 5)
    # rust-vmm counts the header.
    assert peer.answered(GET_INFO, struct.pack("=IIII", 32, 0, 0, 0)) == payload
    assert peer.refused(GET_INFO, struct.pack("=IIII", 15, 0, 0, 0)) == errno.EINVAL
    assert peer.refused(GET_INFO, bytes(12)) == errno.EINVAL


def region_query(index: int, argsz: int = 32) -> bytes:
    return struct.pack("=IIIIQQ", argsz, 0, index, 0, 0, 0)


def test_region_info_of_a_region_that_cannot_be_mapped(peer: Peer) -> None:
    payload = peer.answered(GET_REGION_INFO, region_query(BAR0))
    assert payload == struct.pack("=IIIIQQ", 32, 3, BAR0, 0, 0x400000, 0)
    assert peer.answered(GET_REGION_INFO, region_query(1)) == struct.pack(
        "=IIIIQQ", 32, 0, 1, 0, 0, 0
    )


@pytest.mark.parametrize("argsz", [32, 33, 79])
def test_region_info_without_room_for_the_capabilities(peer: Peer, argsz: int) -> None:
    """MMAP but not CAPS, the size of all of it, and no fd."""
    payload = peer.answered(GET_REGION_INFO, region_query(BAR2, argsz))
    assert payload == struct.pack("=IIIIQQ", 80, 3 | 4, BAR2, 0, 0x4000, 0x4000)


@pytest.mark.parametrize("argsz", [80, 4096, 0xFFFFFFFF])
def test_region_info_with_sparse_areas_and_the_file(
    peer: Peer, device: FakeDevice, argsz: int
) -> None:
    received = peer.ask(GET_REGION_INFO, region_query(BAR2, argsz))
    assert received.payload == (
        struct.pack("=IIIIQQ", 80, 3 | 4 | 8, BAR2, 32, 0x4000, 0x4000)
        + struct.pack("=HHIII", 1, 1, 0, 2, 0)
        + struct.pack("=QQQQ", 0x1000, 0x1000, 0x3000, 0x1000)
    )
    (fd,) = received.fds
    os.pwrite(device.memfd, b"shared", 0x5000)
    assert os.pread(fd, 6, 0x5000) == b"shared"
    received.close()


def test_region_info_refused(peer: Peer) -> None:
    assert peer.refused(GET_REGION_INFO, region_query(9)) == errno.EINVAL
    assert peer.refused(GET_REGION_INFO, region_query(0xFFFFFFFF)) == errno.EINVAL
    assert peer.refused(GET_REGION_INFO, region_query(0, 31)) == errno.EINVAL
    assert peer.refused(GET_REGION_INFO, region_query(0)[:31]) == errno.EINVAL


def test_irq_info(peer: Peer) -> None:
    def query(index: int, argsz: int = 16) -> bytes:
        return struct.pack("=IIII", argsz, 0, index, 0)

    assert peer.answered(GET_IRQ_INFO, query(INTX)) == struct.pack("=IIII", 16, 7, INTX, 1)
    assert peer.answered(GET_IRQ_INFO, query(MSIX)) == struct.pack("=IIII", 16, 9, MSIX, 600)
    assert peer.answered(GET_IRQ_INFO, query(1)) == struct.pack("=IIII", 16, 0, 1, 0)
    assert peer.refused(GET_IRQ_INFO, query(5)) == errno.EINVAL
    assert peer.refused(GET_IRQ_INFO, query(0, 15)) == errno.EINVAL
    assert peer.refused(GET_IRQ_INFO, query(0)[:15]) == errno.EINVAL


def access(offset: int, region: int, count: int) -> bytes:
    return struct.pack("=QII", offset, region, count)


def test_region_read(peer: Peer) -> None:
    asked = access(4, CONFIG, 8)
    assert peer.answered(REGION_READ, asked) == asked + bytes(range(4, 12))
    assert len(peer.answered(REGION_READ, access(0, CONFIG, 256))) == 16 + 256
    assert peer.answered(REGION_READ, access(5, BAR0, 0)) == access(5, BAR0, 0)
    most = 1 << 20
    assert len(peer.answered(REGION_READ, access(0, BAR0, most))) == 16 + most


def test_region_write(peer: Peer, device: FakeDevice) -> None:
    asked = access(0x123, BAR0, 3)
    assert peer.answered(REGION_WRITE, asked + b"abc") == asked
    assert device.bytes[BAR0][0x122:0x127] == b"\0abc\0"
    assert peer.answered(REGION_WRITE, access(5, BAR0, 0)) == access(5, BAR0, 0)


def test_posted_writes_are_not_answered_but_done_in_order(peer: Peer, device: FakeDevice) -> None:
    for i in range(10):
        peer.send(REGION_WRITE, access(0, BAR0, 1) + bytes([i]), flags=F_NO_REPLY)
    peer.send(REGION_WRITE, access(1 << 40, BAR0, 1) + b"x", flags=F_NO_REPLY)
    peer.send(99, b"unknown", flags=F_NO_REPLY)
    assert peer.answered(REGION_READ, access(0, BAR0, 1)) == access(0, BAR0, 1) + bytes([9])


@pytest.mark.parametrize(
    ("offset", "region", "count"),
    [
        (256, CONFIG, 1),
        (255, CONFIG, 2),
        ((1 << 64) - 1, CONFIG, 2),
        ((1 << 64) - 1, CONFIG, 1),
        (0, 1, 1),
        (0, 9, 1),
        (0, 0xFFFFFFFF, 1),
        (0, BAR0, (1 << 20) + 1),
        (0, BAR0, 0xFFFFFFFF),
    ],
)
def test_accesses_outside(peer: Peer, offset: int, region: int, count: int) -> None:
    assert peer.refused(REGION_READ, access(offset, region, count)) == errno.EINVAL
    data = bytes(min(count, 64))
    assert peer.refused(REGION_WRITE, access(offset, region, count) + data) == errno.EINVAL


def test_accesses_of_the_wrong_length(peer: Peer, device: FakeDevice) -> None:
    assert peer.refused(REGION_READ, bytes(15)) == errno.EINVAL
    assert peer.refused(REGION_WRITE, bytes(15)) == errno.EINVAL
    assert peer.refused(REGION_WRITE, access(0, BAR0, 4) + b"abc") == errno.EINVAL
    assert peer.refused(REGION_WRITE, access(0, BAR0, 4) + b"abcde") == errno.EINVAL
    assert device.bytes[BAR0][:8] == bytes(8)


def test_reset(peer: Peer, device: FakeDevice) -> None:
    assert peer.answered(RESET) == b""
    assert device.resets == 1
    device.resets = 100
    assert peer.refused(RESET) == errno.EBUSY


def test_region_io_fds(peer: Peer, device: FakeDevice) -> None:
    def query(index: int, argsz: int, flags: int = 0, count: int = 0) -> bytes:
        return struct.pack("=IIII", argsz, flags, index, count)

    assert peer.answered(GET_REGION_IO_FDS, query(BAR0, 16)) == query(BAR0, 96, 0, 2)
    assert peer.answered(GET_REGION_IO_FDS, query(BAR0, 95)) == query(BAR0, 96, 0, 2)
    assert peer.answered(GET_REGION_IO_FDS, query(CONFIG, 96)) == query(CONFIG, 16)
    received = peer.ask(GET_REGION_IO_FDS, query(BAR0, 96))
    assert received.payload == (
        query(BAR0, 96, 0, 2)
        + struct.pack("=QQIIIIQ", 0x1000, 4, 0, 0, 0, 0, 0)
        + struct.pack("=QQIIIIQ", 0x1004, 2, 0, 0, 1, 0, 0x1234)
    )
    (fd,) = received.fds
    os.eventfd_write(fd, 3)
    assert device.doorbell.read() == 3
    received.close()
    assert peer.refused(GET_REGION_IO_FDS, query(9, 96)) == errno.EINVAL
    assert peer.refused(GET_REGION_IO_FDS, query(BAR0, 15)) == errno.EINVAL
    assert peer.refused(GET_REGION_IO_FDS, query(BAR0, 96, flags=1)) == errno.EINVAL
    assert peer.refused(GET_REGION_IO_FDS, query(BAR0, 96, count=1)) == errno.EINVAL
    assert peer.refused(GET_REGION_IO_FDS, query(BAR0, 96)[:15]) == errno.EINVAL


def test_no_more_fds_than_the_client_can_receive(stranger: Peer) -> None:
    stranger.answered(VERSION, struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":0}}\0')
    query = struct.pack("=IIII", 96, 0, BAR0, 0)
    assert stranger.refused(GET_REGION_IO_FDS, query) == errno.EOPNOTSUPP


@pytest.mark.parametrize("most", [1, 16, 63, 64, 65])
def test_as_many_doorbells_as_the_client_can_receive_fds(
    stranger: Peer, device: FakeDevice, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The first ones; of those after, such as share their eventfds."""
    capabilities = b'{"capabilities":{"max_msg_fds":%d}}\0' % most
    stranger.answered(VERSION, struct.pack("=HH", 0, 1) + capabilities)
    with contextlib.ExitStack() as opened:
        fds = [opened.enter_context(EventFd()).fileno() for _ in range(64)]
        bells = [IoEventFd(8 * i, 4, fd) for i, fd in enumerate(fds)]
        bells.append(IoEventFd(0x800, 4, fds[0]))
        monkeypatch.setattr(device, "ioeventfds", lambda _: tuple(bells))
        offered = min(most, 64) + 1
        size = 16 + 40 * offered
        query = struct.pack("=IIII", 16, 0, BAR0, 0)
        assert stranger.answered(GET_REGION_IO_FDS, query) == struct.pack(
            "=IIII", size, 0, BAR0, offered
        )
        received = stranger.ask(GET_REGION_IO_FDS, struct.pack("=IIII", size, 0, BAR0, 0))
        received.close()
        assert len(received.payload) == size
        assert len(received.fds) == min(most, 64)
        places = [entry[0] for entry in struct.iter_unpack("=QQIIIIQ", received.payload[16:])]
        assert places == [*range(0, 8 * (offered - 1), 8), 0x800]


def test_unknown_commands_are_refused_and_their_payload_skipped(peer: Peer) -> None:
    for command in (0, 11, 12, 14, 19, 0xFFFF):
        assert peer.refused(command, bytes(range(200))) == errno.EOPNOTSUPP
    peer.answered(RESET)


def test_fds_that_no_command_wants_are_closed(peer: Peer, ram_fd: int) -> None:
    peer.answered(RESET, b"", [ram_fd])
    peer.answered(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), [ram_fd] * 3)
    assert peer.refused(99, b"", [ram_fd]) == errno.EOPNOTSUPP


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (DeviceError("no", errno.EPERM), errno.EPERM),
        (DeviceError("no reason", 0), errno.EIO),
        (DmaFault(0, 1), errno.EFAULT),
        (ValueError("a bug"), errno.EIO),
        (RecursionError(), errno.EIO),
        (OSError(errno.ENOENT, "a bug"), errno.EIO),
    ],
)
def test_what_a_device_raises_becomes_an_errno(
    peer: Peer, device: FakeDevice, error: Exception, number: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    device.on_read = device.on_write = fail
    assert peer.refused(REGION_READ, access(0, BAR0, 4)) == number
    assert peer.refused(REGION_WRITE, access(0, BAR0, 1) + b"x") == number
    device.on_read = None
    assert peer.answered(REGION_READ, access(0, CONFIG, 1))


def test_a_device_that_returns_too_much(
    peer: Peer, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "region_read", lambda *_: bytes(5))
    assert peer.refused(REGION_READ, access(0, BAR0, 4)) == errno.EIO


def test_replies_carry_the_id_of_the_command(peer: Peer) -> None:
    for id in (0, 7, 7, 0xFFFF):
        peer.send(REGION_READ, access(0, CONFIG, 1), id=id)
        assert peer.receive()[:4] == (id, REGION_READ, F_REPLY, 0)
        peer.send(REGION_READ, access(0, 9, 1), id=id)
        assert peer.receive()[:4] == (id, REGION_READ, F_REPLY | F_ERROR, errno.EINVAL)
