# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The client against a scripted server: the handshake, accesses, memory, and the end."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import struct
import threading

import pytest

from pyvmm.vfio import (
    DeviceError,
    DeviceGone,
    DeviceSilent,
    Interval,
    IoEventFd,
    ProtocolError,
    VfioError,
)
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_UNMAP,
    F_REPLY,
    GET_INFO,
    GOOD_INFO,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    RESET,
    VERSION,
    Answer,
    Received,
    Script,
    assert_gone,
    wait_until,
)


def test_the_handshake(client: Client, script: Script) -> None:
    version, info = script.asked
    assert version[1:4] == (VERSION, 0, 0)
    assert version.payload == (
        struct.pack("=HH", 0, 1)
        + b'{"capabilities":{"max_msg_fds":253,"max_data_xfer_size":1048576,'
        b'"write_multiple":true,"twin_socket":{"supported":true}}}\0'
    )
    assert info.payload == struct.pack("=IIII", 16, 0, 0, 0)
    assert client.info[:3] == (3, 9, 5)
    assert client.info.pci
    assert client.info.resettable
    assert client.dma.page_sizes == 4096
    assert client.dma.iova_ranges() == (Interval(0, 1 << 64),)


@pytest.mark.parametrize(
    ("answers", "error", "complaint"),
    [
        ({VERSION: errno.EINVAL}, DeviceError, "agreeing on a version: VFIO_USER_VERSION: EINVAL"),
        ({VERSION: 0}, DeviceError, "an error without a reason"),
        ({VERSION: b""}, ProtocolError, "0 bytes"),
        ({VERSION: struct.pack("=HH", 1, 0)}, ProtocolError, "version 1.0, not 0.1"),
        ({VERSION: struct.pack("=HH", 0, 2)}, ProtocolError, "version 0.2"),
        ({VERSION: struct.pack("=HH", 0, 1) + b"{"}, ProtocolError, "no JSON"),
        ({GET_INFO: GOOD_INFO[:15]}, ProtocolError, "GET_INFO with 15 bytes"),
        ({GET_INFO: struct.pack("=IIII", 16, 1, 9, 5)}, ProtocolError, "not a PCI device"),
        ({GET_INFO: struct.pack("=IIII", 16, 2, 1 << 31, 5)}, ProtocolError, "regions"),
        ({GET_INFO: struct.pack("=IIII", 16, 2, 9, 1 << 31)}, ProtocolError, "interrupt"),
        ({GET_INFO: errno.ENODEV}, DeviceError, "server: asking for the device: .*ENODEV"),
        ({GET_INFO: lambda _: struct.pack("=IIII", 16, 2, 9, 5)[:0]}, ProtocolError, "0 bytes"),
    ],
)
def test_a_bad_handshake(
    ours_and_script: tuple[socket.socket, Script],
    answers: dict[int, Answer],
    error: type[VfioError],
    complaint: str,
) -> None:
    ours, script = ours_and_script
    script.answers.update(answers)
    told: list[VfioError] = []
    with pytest.raises(error, match=complaint):
        Client(ours, "server", timeout=PATIENCE, on_gone=told.append)
    assert not told, "the exception says it"


def test_version_0_without_capabilities(ours_and_script: tuple[socket.socket, Script]) -> None:
    ours, script = ours_and_script
    script.answers[VERSION] = struct.pack("=HH", 0, 0)
    with Client(ours, timeout=PATIENCE) as client:
        assert client.info.pci


def test_reading(client: Client, script: Script) -> None:
    script.answers[REGION_READ] = lambda asked: asked.payload + b"\1\2\3\4"
    assert client.region_read(7, 0x10, 4) == b"\1\2\3\4"
    assert script.requests(REGION_READ) == [struct.pack("=QII", 0x10, 7, 4)]
    assert client.region_read(7, 0, 0) == b""


def test_writing(client: Client, script: Script) -> None:
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    client.region_write(2, 0x1000, b"abcd")
    assert script.requests(REGION_WRITE) == [struct.pack("=QII", 0x1000, 2, 4) + b"abcd"]
    assert script.asked[-1].flags == 0
    client.region_write(2, 0, b"")
    assert len(script.asked) == 3


def test_no_access_is_longer_than_the_server_takes(client: Client, script: Script) -> None:
    data = bytes(range(200))
    script.answers[REGION_READ] = lambda asked: (
        asked.payload + data[asked.payload[0] :][: asked.payload[12]]
    )
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    assert client.region_read(0, 0, 200) == data
    client.region_write(0, 3, data)
    counts = [struct.unpack_from("=QII", payload) for payload in script.requests(REGION_READ)]
    assert counts == [(0, 0, 64), (64, 0, 64), (128, 0, 64), (192, 0, 8)]
    written = script.requests(REGION_WRITE)
    assert [struct.unpack_from("=QII", payload) for payload in written] == [
        (3, 0, 64),
        (67, 0, 64),
        (131, 0, 64),
        (195, 0, 8),
    ]
    assert b"".join(payload[16:] for payload in written) == data


def test_a_refused_access_is_no_end(client: Client, script: Script, gone: list[VfioError]) -> None:
    script.answers[REGION_READ] = errno.EINVAL
    script.answers[REGION_WRITE] = 0
    with pytest.raises(DeviceError, match=r"reading 4 bytes at 0x10 of region 7.*EINVAL") as caught:
        client.region_read(7, 0x10, 4)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(DeviceError, match=r"writing 1 bytes at 0x0 of region 7.*without a reason"):
        client.region_write(7, 0, b"x")
    script.answers[RESET] = b""
    client.reset()
    assert not gone


READ = struct.pack("=QII", 0, 0, 4)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "reply to VFIO_USER_REGION_READ with 0 bytes"),
        (READ, "16 bytes of payload instead of 20"),
        (READ + b"123", "19 bytes"),
        (READ + b"12345", "21 bytes"),
        (struct.pack("=QII", 1, 0, 4) + b"1234", "4 bytes at 0x1 of region 0"),
        (struct.pack("=QII", 0, 1, 4) + b"1234", "region 1"),
        (struct.pack("=QII", 0, 0, 3) + b"1234", "3 bytes at"),
        (struct.pack("=QII", 0, 0, 0xFFFFFFFF) + b"1234", "not what was asked"),
        ((READ + b"1234", [0]), "1 fds"),
    ],
)
def test_lies_about_reading(
    client: Client, script: Script, gone: list[VfioError], answer: Answer, complaint: str
) -> None:
    script.answers[REGION_READ] = answer
    with pytest.raises(ProtocolError, match=complaint) as caught:
        client.region_read(0, 0, 4)
    assert_gone(client, gone, caught.value)


@pytest.mark.parametrize(
    "answer", [b"", READ[:15], READ + b"1", struct.pack("=QII", 0, 0, 3), (READ, [0, 0])]
)
def test_lies_about_writing(
    client: Client, script: Script, gone: list[VfioError], answer: Answer
) -> None:
    script.answers[REGION_WRITE] = answer
    with pytest.raises(ProtocolError, match="reply to VFIO_USER_REGION_WRITE") as caught:
        client.region_write(0, 0, b"1234")
    assert_gone(client, gone, caught.value)


@pytest.mark.parametrize(
    ("id", "command", "flags", "size", "complaint"),
    [
        (1, REGION_READ, F_REPLY, 20, r"id 769\) that nothing asked for"),
        (0, REGION_WRITE, F_REPLY, 20, "REGION_WRITE in answer to VFIO_USER_REGION_READ"),
        (0, 99, F_REPLY, 20, "sent command 99 in answer to"),
        (0, REGION_READ, 2, 20, "type 0x2"),
        (0, REGION_READ, F_REPLY, 4 << 20, "READ. that is longer than any may be"),
        (0, REGION_READ, F_REPLY, 15, "message of 15 bytes"),
    ],
)
def test_lies_in_the_header(
    client: Client,
    script: Script,
    gone: list[VfioError],
    id: int,
    command: int,
    flags: int,
    size: int,
    complaint: str,
) -> None:
    def lie(asked: Received) -> None:
        wrong = 0x301 if id else asked.id
        script.peer.send(command, bytes(20), id=wrong, flags=flags, size=size)

    script.answers[REGION_READ] = lie
    with pytest.raises(ProtocolError, match=complaint) as caught:
        client.region_read(0, 0, 4)
    assert_gone(client, gone, caught.value)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 20, 31, 35])
def test_a_server_that_dies_while_it_answers(
    client: Client, script: Script, gone: list[VfioError], length: int
) -> None:
    def die(asked: Received) -> None:
        reply = struct.pack("=HHIII", asked.id, REGION_READ, 36, F_REPLY, 0) + READ + b"1234"
        script.peer.send_bytes(reply[:length])
        script.peer.sock.shutdown(socket.SHUT_RDWR)

    script.answers[REGION_READ] = die
    with pytest.raises(DeviceGone, match="server hung up") as caught:
        client.region_read(0, 0, 4)
    assert_gone(client, gone, caught.value)


def test_a_reply_in_pieces(client: Client, script: Script) -> None:
    def reply(asked: Received) -> None:
        data = struct.pack("=HHIII", asked.id, REGION_READ, 36, F_REPLY, 0) + READ + b"1234"
        for byte in data:
            script.peer.send_bytes(bytes([byte]))

    script.answers[REGION_READ] = reply
    assert client.region_read(0, 0, 4) == b"1234"


def test_a_server_that_does_not_answer(ours_and_script: tuple[socket.socket, Script]) -> None:
    ours, script = ours_and_script
    script.answers[REGION_READ] = lambda _: None
    told: list[VfioError] = []
    with Client(ours, "server /path", timeout=1, on_gone=told.append) as client:
        with pytest.raises(DeviceSilent) as caught:
            client.region_read(0, 0, 4)
        expected = "server /path did not answer VFIO_USER_REGION_READ within 1 s"
        assert str(caught.value) == expected
        assert_gone(client, told, caught.value)


def test_a_server_that_answers_ever_so_slowly(
    ours_and_script: tuple[socket.socket, Script],
) -> None:
    """Byte by byte, each well in time: the reply is late all the same."""
    ours, script = ours_and_script

    def drip(asked: Received) -> None:
        reply = struct.pack("=HHIII", asked.id, REGION_READ, 1 << 20, F_REPLY, 0)
        with contextlib.suppress(OSError):
            script.peer.send_bytes(reply)
            while not client.gone:
                script.peer.send_bytes(b"x")

    script.answers[REGION_READ] = drip
    with Client(ours, timeout=0.5) as client, pytest.raises(DeviceSilent):
        client.region_read(0, 0, 4)


def test_a_server_that_answers_everything_else(
    ours_and_script: tuple[socket.socket, Script],
) -> None:
    """It can't keep a call waiting for ever with requests of its own."""
    ours, script = ours_and_script

    def chatter(_: Received) -> None:
        with contextlib.suppress(OSError):
            while True:
                script.peer.send(11, struct.pack("=QQ", 0, 4))
                script.peer.receive()

    script.answers[REGION_READ] = chatter
    with (
        Client(ours, timeout=0.5) as client,
        pytest.raises(DeviceGone, match="did not answer VFIO_USER_REGION_READ"),
    ):
        client.region_read(0, 0, 4)


def test_mapping_dma(client: Client, script: Script, file: int) -> None:
    script.answers[DMA_MAP] = b""
    script.answers[DMA_UNMAP] = lambda asked: asked.payload
    client.dma.map(0x100000, 0x2000, address=0, fd=file, offset=0x1000)
    client.dma.map(0x200000, 0x1000, address=0, writable=False, fd=file)
    with pytest.raises(DeviceError):
        client.dma.map(0, 0x1000, address=0)  # nothing there at all
    client.dma.unmap(0x100000, 0x2000)
    assert script.requests(DMA_MAP) == [
        struct.pack("=IIQQQ", 32, 3, 0x1000, 0x100000, 0x2000),
        struct.pack("=IIQQQ", 32, 1, 0, 0x200000, 0x1000),
    ]
    assert [len(asked.fds) for asked in script.asked[2:4]] == [1, 1]
    assert script.requests(DMA_UNMAP) == [struct.pack("=IIQQ", 24, 0, 0x100000, 0x2000)]


def test_dma_the_server_refuses(client: Client, script: Script, file: int) -> None:
    script.answers[DMA_MAP] = errno.EEXIST
    script.answers[DMA_UNMAP] = errno.ENOENT
    with pytest.raises(DeviceError, match=r"mapping IOVA 0x1000\+0x1000: .*: EEXIST"):
        client.dma.map(0x1000, 0x1000, address=0, fd=file)
    with pytest.raises(DeviceError, match=r"unmapping IOVA 0x1000\+0x1000"):
        client.dma.unmap(0x1000, 0x1000)


def test_the_idle_client_notices_the_end(
    client: Client, script: Script, gone: list[VfioError]
) -> None:
    script.peer.sock.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: bool(gone))
    assert_gone(client, gone, gone[0])
    assert str(gone[0]) == "server hung up"


def test_closing_from_on_gone(ours_and_script: tuple[socket.socket, Script]) -> None:
    """Whichever thread calls it: the one that waits for a reply, or the idle one."""
    ours, script = ours_and_script
    closed = threading.Event()

    def close(_: VfioError) -> None:
        client.close()
        closed.set()

    client = Client(ours, timeout=PATIENCE, on_gone=close)
    script.peer.sock.shutdown(socket.SHUT_RDWR)
    assert closed.wait(PATIENCE)
    client.close()


def test_an_interrupted_call_is_the_end(
    client: Client, script: Script, gone: list[VfioError]
) -> None:
    """Ctrl-C while the main thread waits: the reply may come any time, to nobody."""
    main = threading.get_ident()
    script.answers[REGION_READ] = lambda _: signal.pthread_kill(main, signal.SIGUSR1)
    old = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            client.region_read(0, 0, 4)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert_gone(client, gone, gone[0])
    assert str(gone[0]) == "server: interrupted while waiting for VFIO_USER_REGION_READ"


def test_signals_that_raise_nothing_are_not_noticed(client: Client, script: Script) -> None:
    main = threading.get_ident()
    came = threading.Event()

    def answer(asked: Received) -> Answer:
        signal.pthread_kill(main, signal.SIGUSR1)
        assert came.wait(PATIENCE)
        return asked.payload + b"1234"

    script.answers[REGION_READ] = answer
    old = signal.signal(signal.SIGUSR1, lambda *_: came.set())
    try:
        assert client.region_read(0, 0, 4) == b"1234"
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_a_closed_client(client: Client, gone: list[VfioError]) -> None:
    client.close()
    client.close()
    with pytest.raises(DeviceGone, match="server: closed"):
        client.region_read(0, 0, 4)
    assert not gone


def test_resetting(client: Client, script: Script) -> None:
    script.answers[RESET] = b""
    client.reset()
    assert script.asked[-1][1:5] == (RESET, 0, 0, b"")


def test_ioeventfd_values() -> None:
    assert IoEventFd(0, 4, 3).datamatch is None
