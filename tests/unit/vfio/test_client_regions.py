# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The client against a scripted server: regions, their files and doorbells, and lies of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import socket
import struct
from collections.abc import Callable

import pytest

from pyvmm.vfio import (
    DeviceError,
    EventFd,
    Interval,
    ProtocolError,
    RegionInfo,
    VfioError,
)
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    F_ERROR,
    F_REPLY,
    GET_REGION_INFO,
    GET_REGION_IO_FDS,
    PATIENCE,
    RESET,
    VERSION,
    Answer,
    Received,
    Script,
    assert_gone,
    open_files,
    wait_until,
)


def region(
    index: int, size: int, flags: int = 3, offset: int = 0, argsz: int = 32, cap: int = 0
) -> bytes:
    return struct.pack("=IIIIQQ", argsz, flags, index, cap, size, offset)


def sparse(*areas: tuple[int, int]) -> bytes:
    packed = b"".join(struct.pack("=QQ", *area) for area in areas)
    return struct.pack("=HHIII", 1, 1, 0, len(areas), 0) + packed


def two_steps(first: bytes, second: Answer) -> Callable[[Received], Answer]:
    def answer(asked: Received) -> Answer:
        return first if struct.unpack_from("=I", asked.payload) == (32,) else second

    return answer


def test_a_region_that_cannot_be_mapped(client: Client, script: Script) -> None:
    script.answers[GET_REGION_INFO] = region(7, 0x1000)
    info = client.region_info(7)
    assert info == RegionInfo(7, 3, 0x1000)
    assert client.region_info(7) is info
    assert client.region_fd(7) == -1
    assert script.requests(GET_REGION_INFO) == [struct.pack("=IIIIQQ", 32, 0, 7, 0, 0, 0)]
    with pytest.raises(DeviceError, match="not in a mappable area"):
        client.map_region(7, Interval(0, 0x1000))


@pytest.mark.parametrize("caps_in_short_reply", [0, 8], ids=["libvfio-user", "rust-vmm"])
def test_a_sparse_region(
    client: Client, script: Script, file: int, caps_in_short_reply: int
) -> None:
    full = region(2, 0x4000, 3 | 4 | 8, 0x2000, 80, 32) + sparse((0x1000, 0x1000), (0x3000, 0x1000))
    short = region(2, 0x4000, 3 | 4 | caps_in_short_reply, 0x2000, 80, 4 * caps_in_short_reply)
    script.answers[GET_REGION_INFO] = two_steps(short, (full, [file]))
    info = client.region_info(2)
    assert info.areas == (Interval(0x1000, 0x2000), Interval(0x3000, 0x4000))
    assert [payload[:4] for payload in script.requests(GET_REGION_INFO)] == [
        struct.pack("=I", 32),
        struct.pack("=I", 80),
    ]
    os.pwrite(file, b"in the file", 0x5000)
    with client.map_region(2, Interval(0x3000, 0x4000)) as mapping:
        assert bytes(mapping.view[:11]) == b"in the file"
    for bad in (Interval(0x2000, 0x3000), Interval(0x1000, 0x4000), Interval(0x1000, 0x1000)):
        with pytest.raises(DeviceError, match="not in a mappable area"):
            client.map_region(2, bad)


def test_a_region_whose_file_comes_with_the_short_reply(
    client: Client, script: Script, file: int
) -> None:
    script.answers[GET_REGION_INFO] = (region(0, 0x4000, 7), [file])
    assert client.region_info(0).areas == (Interval(0, 0x4000),)
    assert client.region_fd(0) >= 0


def test_a_region_whose_file_could_make_us_wait(client: Client, script: Script) -> None:
    reader, writer = os.pipe()
    script.answers[GET_REGION_INFO] = (region(0, 0x4000, 7), [reader])
    with pytest.raises(ProtocolError, match="file of region 0: a file on no file system of ours"):
        client.region_info(0)
    os.close(reader)
    os.close(writer)


def test_a_mappable_region_without_a_file_is_trapped(client: Client, script: Script) -> None:
    """rust-vmm's server passes none for a region without sparse areas."""
    script.answers[GET_REGION_INFO] = region(0, 0x4000, 7)
    info = client.region_info(0)
    assert not info.areas
    assert not info.mappable
    assert client.region_fd(0) == -1


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (b"", b"", "0 bytes of payload"),
        (region(1, 0x1000), b"", "region 1 instead of 2"),
        (region(2, 0x1000, argsz=31), b"", "argsz 31"),
        (region(2, 0x1000, argsz=1 << 30), b"", "argsz 1073741824"),
        (region(2, 0x1000) + b"more", b"", "36 bytes"),
        (region(2, 1 << 63, offset=1), b"", "region 2 of 0x8000000000000000"),
        (region(2, (1 << 64) - 1), b"", "region 2 of"),
        (region(2, 0x1000, argsz=80), region(2, 0x1000, argsz=80), "argsz 80 and 32"),
        (region(2, 0x1000, argsz=80), region(2, 0x1000, argsz=99) + bytes(48), "argsz 99"),
        (region(2, 0x1000, argsz=80), region(3, 0x1000, argsz=80) + bytes(48), "region 3"),
        (
            region(2, 0x1000, argsz=64),
            region(2, 0x1000, 15, 0, 64, 32) + sparse((0x1000, 0x1000)),
            "sparse area .* outside",
        ),
        (
            region(2, 0x1000, argsz=64),
            region(2, 0x1000, 15, 0, 64, 32) + sparse((0x800, (1 << 64) - 0x800)),
            "sparse area .* outside",
        ),
        (
            region(2, 0x1000, argsz=40),
            region(2, 0x1000, 15, 0, 40, 32) + struct.pack("=HHI", 9, 1, 32),
            "loops",
        ),
    ],
)
def test_lies_about_regions(
    client: Client,
    script: Script,
    gone: list[VfioError],
    first: bytes,
    second: bytes,
    complaint: str,
) -> None:
    script.answers[GET_REGION_INFO] = two_steps(first, second)
    with pytest.raises(ProtocolError, match=complaint) as caught:
        client.region_info(2)
    assert_gone(client, gone, caught.value)


def test_a_region_file_that_is_too_short(
    client: Client, script: Script, gone: list[VfioError], file: int
) -> None:
    script.answers[GET_REGION_INFO] = (region(2, 0x4000, 7, 0x4001), [file])
    with pytest.raises(ProtocolError, match="file that has 0x8000"):
        client.region_info(2)
    assert len(gone) == 1


def test_a_region_file_that_this_process_has_no_room_for(
    client: Client, script: Script, gone: list[VfioError], file: int
) -> None:
    """Out of file descriptors is no lie of the server's, and no end."""
    script.answers[GET_REGION_INFO] = (region(2, 0x4000, 7), [file])
    script.answers[RESET] = b""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(int(entry.split()[0]) for entry in open_files())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(file))
        with pytest.raises(DeviceError, match=r"EMFILE.*raise the limit of open files") as caught:
            client.region_info(2)
        client.reset()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert caught.value.errno == errno.EMFILE
    assert client.region_info(2).areas
    assert not gone


def test_more_files_than_a_region_has(
    client: Client, script: Script, gone: list[VfioError], file: int
) -> None:
    script.answers[GET_REGION_INFO] = (region(2, 0x4000, 7), [file, file])
    with pytest.raises(ProtocolError, match="2 fds, where 1 can be used"):
        client.region_info(2)
    assert len(gone) == 1


def test_regions_and_interrupts_that_there_are_not(client: Client, script: Script) -> None:
    for ask, bad in ((client.region_info, (-1, 9)), (client.irq_info, (-1, 5))):
        for index in bad:
            with pytest.raises(DeviceError) as caught:
                ask(index)
            assert caught.value.errno == errno.EINVAL
    assert len(script.asked) == 2


def doorbell(
    offset: int, size: int, fd: int = 0, kind: int = 0, flags: int = 0, match: int = 0
) -> bytes:
    return struct.pack("=QQIIIIQ", offset, size, fd, kind, flags, 0, match)


def io_fds(*entries: bytes, index: int = 0, count: int | None = None) -> bytes:
    argsz = 16 + sum(map(len, entries))
    count = len(entries) if count is None else count
    return struct.pack("=IIII", argsz, 0, index, count) + b"".join(entries)


def asked_twice(full: bytes, fds: list[int]) -> Callable[[Received], Answer]:
    def answer(asked: Received) -> Answer:
        enough = struct.unpack_from("=I", asked.payload)[0] >= len(full)
        return (full, fds) if enough else full[:16]

    return answer


def test_no_descriptor_left_for_doorbells(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is nothing the server did: it isn't blamed, and stays."""
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    full = io_fds(doorbell(0x1000, 4), doorbell(0x1004, 4, 1))
    duplicate = fcntl.fcntl
    calls: list[int] = []

    def exhausted(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_DUPFD_CLOEXEC:
            calls.append(fd)
            if len(calls) > 1:
                raise OSError(errno.EMFILE, "no more")
        return duplicate(fd, command, argument)

    with EventFd() as one, EventFd() as other:
        script.answers[GET_REGION_IO_FDS] = asked_twice(full, [one.fileno(), other.fileno()])
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "fcntl", exhausted)
            with pytest.raises(DeviceError, match=r"eventfd .*EMFILE .*ulimit -n"):
                client.ioeventfds(0)
        assert client.gone is None
        assert len(client.ioeventfds(0)) == 2


def test_doorbells(client: Client, script: Script) -> None:
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    full = io_fds(
        doorbell(0x1000, 4), doorbell(0x1004, 2, 1, 0, 1, 7), doorbell(0, 4, 9, 1), doorbell(8, 0)
    )
    with EventFd() as one, EventFd() as other:
        script.answers[GET_REGION_IO_FDS] = asked_twice(full, [one.fileno(), other.fileno()])
        found = client.ioeventfds(0)
        assert [(d.offset, d.size, d.datamatch) for d in found] == [
            (0x1000, 4, None),
            (0x1004, 2, 7),
            (8, 0, None),
        ]
        os.eventfd_write(found[1].fd, 1)
        assert (one.read(), other.read()) == (0, 1)
    assert client.ioeventfds(0) is found
    assert script.requests(GET_REGION_IO_FDS) == [
        struct.pack("=IIII", 16, 0, 0, 0),
        struct.pack("=IIII", len(full), 0, 0, 0),
    ]


def test_doorbells_of_libvfio_user(client: Client, script: Script, file: int) -> None:
    """Its entries have 48 bytes: a shadow offset stands before datamatch. What is memory of shadow
    doorbells is no eventfd.
    """
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    entry = struct.pack("=QQIIIIQQ", 0x1000, 4, 0, 0, 1, 0xFFFFFFFF, 0x55, 0x1234)
    shadow = struct.pack("=QQIIIIQQ", 0x1008, 4, 0, 2, 0, 1, 0, 0)
    with EventFd() as eventfd:
        full = io_fds(shadow, entry)
        script.answers[GET_REGION_IO_FDS] = asked_twice(full, [eventfd.fileno(), file])
        (found,) = client.ioeventfds(0)
        os.eventfd_write(found.fd, 1)
        assert eventfd.read() == 1
    assert (found.offset, found.size, found.datamatch) == (0x1000, 4, 0x1234)


def test_no_doorbells(client: Client, script: Script, gone: list[VfioError]) -> None:
    script.answers[GET_REGION_INFO] = lambda asked: region(
        asked.payload[8], 0x2000 * asked.payload[8]
    )
    assert client.ioeventfds(0) == ()  # the region isn't there
    script.answers[GET_REGION_IO_FDS] = errno.EINVAL
    assert client.ioeventfds(1) == ()
    script.answers[GET_REGION_IO_FDS] = io_fds(index=2)
    assert client.ioeventfds(2) == ()
    assert len(script.requests(GET_REGION_IO_FDS)) == 2
    assert not gone


@pytest.mark.parametrize("capabilities", [b"", b'{"capabilities":{"max_msg_fds":1}}\0'])
def test_a_server_that_takes_one_fd_at_most_is_not_asked_for_doorbells(
    ours_and_script: tuple[socket.socket, Script], capabilities: bytes
) -> None:
    """rust-vmm's, which loses the stream over commands that it doesn't know."""
    ours, script = ours_and_script
    script.answers[VERSION] = struct.pack("=HH", 0, 1) + capabilities
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    with Client(ours, timeout=PATIENCE) as client:
        assert client.ioeventfds(0) == ()
    assert not script.requests(GET_REGION_IO_FDS)


@pytest.mark.parametrize(
    ("size", "what"), [(16, "that nothing asked for"), (0, "of 0 bytes, less than its header")]
)
def test_a_server_that_does_not_read_what_it_refuses(
    client: Client, script: Script, gone: list[VfioError], size: int, what: str
) -> None:
    """It takes the payload for more commands, and answers what nobody has asked."""
    script.answers[GET_REGION_INFO] = region(0, 0x2000)

    def refuse(asked: Received) -> None:
        flags = F_REPLY | F_ERROR
        script.peer.send(asked.command, id=asked.id, flags=flags, error=errno.EOPNOTSUPP)
        script.peer.send(0, id=16, flags=flags, error=errno.EOPNOTSUPP, size=size)

    script.answers[GET_REGION_IO_FDS] = refuse
    assert client.ioeventfds(0) == ()
    wait_until(lambda: bool(gone))
    complaint = f"{what}, after it refused VFIO_USER_DEVICE_GET_REGION_IO_FDS: it seems to have"
    assert complaint in str(gone[0])


@pytest.mark.parametrize(
    "full",
    [
        b"",
        io_fds(doorbell(0x1000, 4))[:-8],
        io_fds(doorbell(0x1000, 4), index=1),
        io_fds(doorbell(0x1FFE, 4)),
        io_fds(doorbell(0x2000, 0)),
        io_fds(doorbell((1 << 64) - 4, 4)),
        io_fds(doorbell(0x1000, 3)),
        io_fds(doorbell(0x1000, 4, 1)),
        io_fds(doorbell(0x1000, 4, 0xFFFFFFFF)),
        io_fds(doorbell(0x1000, 4), count=2),
        io_fds(doorbell(0x1000, 4), count=0xFFFFFFFF),
    ],
)
def test_lies_about_doorbells(
    client: Client, script: Script, gone: list[VfioError], full: bytes
) -> None:
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    with EventFd() as eventfd:
        script.answers[GET_REGION_IO_FDS] = asked_twice(full, [eventfd.fileno()])
        with pytest.raises(ProtocolError, match="GET_REGION_IO_FDS") as caught:
            client.ioeventfds(0)
    assert_gone(client, gone, caught.value)


def test_a_doorbell_that_is_no_eventfd(
    client: Client, script: Script, gone: list[VfioError], file: int
) -> None:
    script.answers[GET_REGION_INFO] = region(0, 0x2000)
    script.answers[GET_REGION_IO_FDS] = asked_twice(io_fds(doorbell(0x1000, 4)), [file])
    with pytest.raises(ProtocolError, match="as an eventfd: EINVAL"):
        client.ioeventfds(0)
    assert len(gone) == 1
