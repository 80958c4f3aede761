# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Writes that wait for no answer: where they are sound, and nowhere else."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pyvmm.vfio import (
    DeviceError,
    DeviceGone,
    DeviceSilent,
    EventFd,
    Interval,
    Mapping,
    ProtocolError,
)
from pyvmm.vfio.user import Client
from pyvmm.vfio.user.posted_writes import PostedWrites
from tests.unit.vfio.fakes import (
    F_NO_REPLY,
    F_REPLY,
    GET_REGION_INFO,
    GET_REGION_IO_FDS,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    RESET,
    Answer,
    FakeDevice,
    Received,
    Script,
    wait_until,
)
from tests.unit.vfio.migrating import client_of

CONFIG = 7


def bars(asked: Received) -> Answer:
    """BAR 1 is for I/O ports."""
    return asked.payload + (b"\1" if asked.payload[0] == 0x14 else b"\0")


@pytest.fixture
def posting(ours_and_script: tuple[socket.socket, Script]) -> Iterator[Client]:
    ours, script = ours_and_script
    script.answers[REGION_READ] = bars
    script.answers[REGION_WRITE] = lambda asked: (
        None if asked.flags & F_NO_REPLY else asked.payload[:16]
    )
    with Client(ours, "server", timeout=PATIENCE, posted_writes=True) as client:
        yield client


def flags(script: Script, command: int = REGION_WRITE) -> list[int]:
    return [asked.flags for asked in script.asked if asked.command == command]


def test_only_writes_to_memory_are_posted(posting: Client, script: Script) -> None:
    script.answers[RESET] = b""
    for index in (0, 1, CONFIG, 5, 6, 0):
        posting.region_write(index, 0x10, b"1234")
    posting.reset()  # which is answered after all of them
    assert flags(script) == [F_NO_REPLY, 0, 0, F_NO_REPLY, 0, F_NO_REPLY]
    # Each BAR is looked at once.
    assert [asked.payload[0] for asked in script.asked if asked.command == REGION_READ] == [
        0x10,
        0x14,
        0x24,
    ]


def test_without_being_told_to_it_posts_nothing(client: Client, script: Script) -> None:
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    client.region_write(0, 0, b"1234")
    assert flags(script) == [0]


def test_nothing_is_posted_past_which_something_may_go(posting: Client, script: Script) -> None:
    """Mapped memory and eventfds don't wait for what is in the socket."""
    script.answers[GET_REGION_INFO] = lambda asked: struct.pack(
        "=IIIIQQ", 32, 3, asked.payload[8], 0, 0x1000, 0
    )
    script.answers[GET_REGION_IO_FDS] = struct.pack("=IIII", 16, 0, 0, 0)
    posting.region_write(0, 0, b"1")
    assert posting.ioeventfds(0) == ()
    posting.region_write(0, 0, b"2")
    doorbell = struct.pack("=IIII", 56, 0, 2, 1) + struct.pack("=QQIIIIQ", 0, 4, 0, 0, 0, 0, 0)
    with EventFd() as eventfd:
        script.answers[GET_REGION_IO_FDS] = doorbell, [eventfd.fileno()]
        assert len(posting.ioeventfds(2)) == 1
    posting.region_write(0, 0, b"3")
    assert flags(script) == [F_NO_REPLY, F_NO_REPLY, 0]


def test_a_mapping_ends_it() -> None:
    with FakeDevice() as device, client_of(device, posted_writes=True) as client:
        client.region_write(0, 0, b"1")

        def refuse(index: int, offset: int, data: bytes) -> None:
            raise DeviceError.answered("writing", errno.EPERM)

        assert client.region_read(0, 0, 1) == b"1"
        device.on_write = refuse
        client.region_write(0, 0, b"2")  # nobody is told
        assert client.region_read(0, 0, 1) == b"1"
        client.map_region(2, Interval(0x1000, 0x2000)).close()
        with pytest.raises(DeviceError, match="EPERM"):
            client.region_write(0, 0, b"3")


def test_what_is_still_in_the_socket_is_carried_out_before_a_mapping_is_there() -> None:
    """A store to it would overtake the write otherwise."""
    with FakeDevice() as device, client_of(device, posted_writes=True) as client:
        assert client.region_info(2).areas
        client.region_write(0, 0, b"1")
        assert client.region_read(0, 0, 1) == b"1"
        done: list[int] = []

        def slowly(index: int, offset: int, data: bytes) -> None:
            time.sleep(0.2)
            done.append(offset)

        device.on_write = slowly
        client.region_write(0, 4, b"2")
        client.map_region(2, Interval(0x1000, 0x2000)).close()
        assert done == [4]


def test_a_server_that_goes_meanwhile_leaves_no_mapping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[Mapping] = []
    close = Mapping.close

    def noted(mapping: Mapping) -> None:
        closed.append(mapping)
        close(mapping)

    monkeypatch.setattr(Mapping, "close", noted)
    with FakeDevice() as device, client_of(device, posted_writes=True) as client:
        client.region_info(2)
        client._channel.fail(DeviceGone("gone"))
        with pytest.raises(DeviceGone):
            client.map_region(2, Interval(0x1000, 0x2000))
        assert len(closed) == 1


def test_posting_ends_on_one_thread_while_another_writes(
    posting: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose write is no later than what ends it, or is carried out before it returns."""
    takes = PostedWrites.takes
    for _ in range(2):
        posted = posting._posted
        assert posted

        def ended(posted: PostedWrites, index: int) -> bool:
            posting._end_posting()
            return takes(posted, index)

        with monkeypatch.context() as patch:
            patch.setattr(PostedWrites, "takes", ended)
            del script.asked[:]
            posting.region_write(0, 0, b"1234")
        asked = [(one.command, one.flags) for one in script.asked]
        after = asked.index((REGION_WRITE, F_NO_REPLY)) + 1
        assert asked[after:] == [(REGION_READ, 0)]
        assert posting._posted is None
        posting._posted = posted


def test_they_are_in_order_however_many() -> None:
    with FakeDevice() as device, client_of(device, posted_writes=True) as client:
        seen: list[int] = []
        device.on_write = lambda index, offset, data: seen.append(offset)
        for offset in range(0, 20000, 4):
            client.region_write(0, offset, offset.to_bytes(4, "little"))
        assert client.region_read(0, 0, 20000) == b"".join(
            offset.to_bytes(4, "little") for offset in range(0, 20000, 4)
        )
        assert seen == list(range(0, 20000, 4))


def test_a_server_that_answers_them(posting: Client, script: Script) -> None:
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    posting.region_write(0, 0, b"1234")
    wait_until(lambda: posting.gone is not None)
    assert isinstance(posting.gone, ProtocolError)
    assert str(posting.gone).endswith("do without posted writes")


def write_for_ever(client: Client) -> None:
    while True:
        client.region_write(0, 0, bytes(4096))


def test_a_server_that_does_not_read_them() -> None:
    ours, theirs = socket.socketpair()

    def answer(command: int, payload: bytes) -> None:
        header = theirs.recv(16)
        id, asked, size, _, _ = struct.unpack("=HHIII", header)
        assert asked == command
        theirs.recv(size - 16)
        theirs.sendall(struct.pack("=HHIII", id, command, 16 + len(payload), F_REPLY, 0) + payload)

    def run() -> None:
        answer(1, struct.pack("=HH", 0, 1))
        answer(4, struct.pack("=IIII", 16, 3, 9, 5))
        answer(REGION_READ, struct.pack("=QII", 0x10, CONFIG, 1) + b"\0")

    thread = threading.Thread(target=run)
    thread.start()
    with theirs, Client(ours, "server", timeout=1, posted_writes=True) as client:
        with pytest.raises(DeviceSilent, match=r"did not take VFIO_USER_REGION_WRITE within 1 s"):
            write_for_ever(client)
        assert client.gone
    thread.join(PATIENCE)
