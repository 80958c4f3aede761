# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA_READ and DMA_WRITE in bytes: our client before a scripted server."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pyvmm.vfio import DeviceGone, VfioError
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    DMA_WRITE,
    F_ERROR,
    F_NO_REPLY,
    F_REPLY,
    PATIENCE,
    REGION_READ,
    RESET,
    Answer,
    Received,
    Script,
    wait_until,
)

PAGE = 4096
CONFIG = 7
READ = struct.pack("=QII", 0, 0, 4)


@pytest.fixture
def memory(client: Client, script: Script) -> ctypes.Array[ctypes.c_ubyte]:
    """One page at IOVA 0x1000, a read-only one behind it; none of the server's has a file."""
    pages = (ctypes.c_ubyte * (2 * PAGE)).from_buffer(bytearray(range(256)) * 32)
    script.answers[DMA_MAP] = b""
    script.answers[DMA_UNMAP] = lambda asked: asked.payload
    client.dma.map(0x1000, PAGE, address=ctypes.addressof(pages))
    address = ctypes.addressof(pages) + PAGE
    client.dma.map(0x2000, PAGE, address=address, writable=False)
    return pages


def dma(iova: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("=QQ", iova, count) + data


class Asker:
    """Lets the scripted server ask the client, although its thread reads the socket."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.replies: dict[int, Future[Received]] = {}
        for command in (DMA_READ, DMA_WRITE, 99):
            script.answers[command] = self._take

    def _take(self, received: Received) -> None:
        self.replies[received.id].set_result(received)

    def __call__(self, id: int, command: int, payload: bytes) -> Received:
        self.replies[id] = Future()
        self.script.peer.send(command, payload, id=id)
        return self.replies[id].result(PATIENCE)


@pytest.fixture
def ask(script: Script) -> Asker:
    return Asker(script)


def test_a_dma_read(client: Client, ask: Asker, memory: ctypes.Array[ctypes.c_ubyte]) -> None:
    received = ask(7, DMA_READ, dma(0x1005, 4))
    assert received == (7, DMA_READ, F_REPLY, 0, dma(0x1005, 4, b"\5\6\7\10"), [])
    assert ask(7, DMA_READ, dma(0x1FFE, 4)).payload == dma(0x1FFE, 4, b"\xfe\xff\0\1")
    assert ask(0xFFFF, DMA_READ, dma(0x1000, 0)).payload == dma(0x1000, 0)


def test_a_dma_write(
    client: Client, script: Script, ask: Asker, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    """The reply has a count of 8 bytes, as everyone's has."""
    received = ask(8, DMA_WRITE, dma(0x1001, 3, b"abc"))
    assert received == (8, DMA_WRITE, F_REPLY, 0, dma(0x1001, 3), [])
    assert bytes(memory[:5]) == b"\0abc\4"
    script.peer.send(DMA_WRITE, dma(0x1000, 1, b"!"), flags=F_NO_REPLY)
    assert ask(9, DMA_READ, dma(0x1000, 1)).payload == dma(0x1000, 1, b"!")


@pytest.mark.parametrize(
    ("command", "payload", "number"),
    [
        (DMA_READ, dma(0xFFF, 1), errno.EFAULT),
        (DMA_READ, dma(0xFFF, 2), errno.EFAULT),
        (DMA_READ, dma(0x3000, 1), errno.EFAULT),
        (DMA_READ, dma(0x2FFF, 2), errno.EFAULT),
        (DMA_READ, dma(0, 0x1001), errno.EFAULT),
        (DMA_READ, dma((1 << 64) - 1, 2), errno.EFAULT),
        (DMA_READ, dma(0x1000, (1 << 20) + 1), errno.EINVAL),
        (DMA_READ, dma(0x1000, (1 << 64) - 1), errno.EINVAL),
        (DMA_READ, dma(0x1000, 4)[:15], errno.EINVAL),
        (DMA_READ, b"", errno.EINVAL),
        (DMA_WRITE, dma(0x0FFF, 1, b"x"), errno.EFAULT),
        (DMA_WRITE, dma(0x2000, 1, b"x"), errno.EFAULT),
        (DMA_WRITE, dma(0x1FFF, 2, b"xx"), errno.EFAULT),
        (DMA_WRITE, dma(0x1000, 2, b"x"), errno.EINVAL),
        (DMA_WRITE, dma(0x1000, 1, b"xx"), errno.EINVAL),
        (DMA_WRITE, dma(0x1000, (1 << 64) - 1, b"x"), errno.EINVAL),
        (DMA_WRITE, b"", errno.EINVAL),
        (99, dma(0x1000, 1), errno.EOPNOTSUPP),
    ],
)
def test_dma_that_is_refused(
    client: Client,
    ask: Asker,
    memory: ctypes.Array[ctypes.c_ubyte],
    command: int,
    payload: bytes,
    number: int,
) -> None:
    before = bytes(memory)
    assert ask(1, command, payload) == (1, command, F_REPLY | F_ERROR, number, b"", [])
    assert bytes(memory) == before
    assert client.gone is None


def test_what_is_unmapped_is_out_of_reach(
    client: Client, ask: Asker, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    client.dma.unmap(0x1000, PAGE)
    assert ask(1, DMA_READ, dma(0x1000, 1)).error == errno.EFAULT
    assert ask(2, DMA_READ, dma(0x2000, 1)).error == 0


def test_what_the_server_refused_to_unmap_is_out_of_reach_all_the_same(
    client: Client, script: Script, ask: Asker, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    script.answers[DMA_UNMAP] = errno.EBUSY
    with pytest.raises(VfioError, match="EBUSY"):
        client.dma.unmap(0x1000, PAGE)
    assert ask(1, DMA_READ, dma(0x1000, 1)).error == errno.EFAULT


def test_what_the_server_refused_to_map_is_out_of_reach(
    client: Client, script: Script, ask: Asker
) -> None:
    page = (ctypes.c_ubyte * PAGE)()
    script.answers[DMA_MAP] = errno.ENOMEM
    with pytest.raises(VfioError):
        client.dma.map(0x1000, PAGE, address=ctypes.addressof(page))
    assert ask(1, DMA_READ, dma(0x1000, 1)).error == errno.EFAULT


def test_dma_before_the_reply_to_its_mapping(client: Client, script: Script) -> None:
    """The server may use a mapping as soon as it has it."""
    page = (ctypes.c_ubyte * PAGE)(1, 2, 3)
    seen: list[bytes] = []

    def use_first(asked: Received) -> Answer:
        script.peer.send(DMA_READ, dma(0x1000, 3))
        seen.append(script.peer.receive().payload)
        return b""

    script.answers[DMA_MAP] = use_first
    client.dma.map(0x1000, PAGE, address=ctypes.addressof(page))
    assert seen == [dma(0x1000, 3, b"\1\2\3")]


def test_dma_while_a_call_waits(
    client: Client, script: Script, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    """As QEMU's client does not; the thread that waits serves it."""
    seen: list[bytes] = []

    def dma_first(asked: Received) -> Answer:
        for turn in range(3):
            script.peer.send(DMA_READ, dma(0x1000 + turn, 1))
            seen.append(script.peer.receive().payload[16:])
        return asked.payload + b"1234"

    script.answers[REGION_READ] = dma_first
    assert client.region_read(0, 0, 4) == b"1234"
    assert seen == [b"\0", b"\1", b"\2"]


def test_a_reply_with_a_request_right_behind_it(
    client: Client, script: Script, ask: Asker, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    """In one piece: whoever takes the reply must not leave the request in the buffer."""

    def both(asked: Received) -> None:
        reply = struct.pack("=HHIII", asked.id, REGION_READ, 36, F_REPLY, 0) + READ + b"1234"
        request = struct.pack("=HHIII", 5, DMA_READ, 32, 0, 0) + dma(0x1000, 1)
        ask.replies[5] = Future()
        script.peer.send_bytes(reply + request)

    script.answers[REGION_READ] = both
    assert client.region_read(0, 0, 4) == b"1234"
    assert ask.replies[5].result(PATIENCE).payload == dma(0x1000, 1, b"\0")


def test_a_server_that_asks_much_and_reads_late(
    client: Client, script: Script, memory: ctypes.Array[ctypes.c_ubyte]
) -> None:
    """Answers that don't fit in the socket wait; the call behind them is not lost."""
    count = 400

    def flood(asked: Received) -> Answer:
        for _ in range(count):
            script.peer.send(DMA_READ, dma(0x1000, 2 * PAGE))
        for _ in range(count):
            assert len(script.peer.receive().payload) == 16 + 2 * PAGE
        return asked.payload + b"1234"

    script.answers[REGION_READ] = flood
    assert client.region_read(0, 0, 4) == b"1234"


def test_replies_in_another_order(client: Client, script: Script) -> None:
    """Four threads wait; the last is answered first, and all at once."""
    waiting: list[Received] = []

    def hold(asked: Received) -> None:
        waiting.append(asked)
        if len(waiting) == 4:
            data = b""
            for held in reversed(waiting):
                payload = held.payload + held.payload[:4]
                header = struct.pack("=HHIII", held.id, REGION_READ, 36, F_REPLY, 0)
                data += header + payload
            script.peer.send_bytes(data)

    script.answers[REGION_READ] = hold
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: client.region_read(0, i, 4), range(4)))
    assert found == [struct.pack("=I", i) for i in range(4)]
    assert len({held.id for held in waiting}) == 4


def test_all_that_wait_learn_of_the_end(client: Client, script: Script) -> None:
    waiting: list[Received] = []

    def hold(asked: Received) -> None:
        waiting.append(asked)
        if len(waiting) == 4:
            script.peer.sock.shutdown(socket.SHUT_RDWR)

    def read(i: int) -> str:
        with pytest.raises(DeviceGone) as caught:
            client.region_read(0, i, 4)
        return str(caught.value)

    script.answers[REGION_READ] = hold
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == ["server hung up"] * 4


def test_an_id_that_is_in_use_is_not_used_again(client: Client, script: Script) -> None:
    held: list[Received] = []
    script.answers[REGION_READ] = held.append
    script.answers[RESET] = b""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.region_read, 0, 0, 4)
        wait_until(lambda: bool(held))
        client._channel._last_id = (held[0].id - 1) & 0xFFFF
        client.reset()
        assert script.asked[-1].id == (held[0].id + 1) & 0xFFFF
        script.peer.send(REGION_READ, READ + b"1234", id=held[0].id, flags=F_REPLY)
        assert future.result(PATIENCE) == b"1234"
