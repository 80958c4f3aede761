# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Many writes at once: in one message where the server takes that, and one by one elsewhere."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError, ProtocolError, RegionWrite, VfioError
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    PATIENCE,
    REGION_WRITE,
    VERSION,
    FakeDevice,
    Received,
    Script,
    assert_gone,
)
from tests.unit.vfio.migrating import WRITE_MULTI, client_of

TAKES = b'{"capabilities":{"write_multiple":true,"max_data_xfer_size":64}}\0'
WRITES: list[RegionWrite] = [(0, 8, b"12345678"), (1, 0x10, b"a"), (0, 8, b"\0\1")]
SAID = [
    struct.pack("=QII8s", 8, 0, 8, b"12345678"),
    struct.pack("=QII8s", 0x10, 1, 1, b"a"),
    struct.pack("=QII8s", 8, 0, 2, b"\0\1"),
]


def all_done(asked: Received) -> bytes:
    return asked.payload[:8]


@pytest.fixture
def gone() -> list[VfioError]:
    return []


@pytest.fixture
def multi(ours_and_script: tuple[socket.socket, Script], gone: list[VfioError]) -> Iterator[Client]:
    """A client of a server that takes many writes at once: two, by what a message may have."""
    ours, script = ours_and_script
    script.answers[VERSION] = struct.pack("=HH", 0, 1) + TAKES
    script.answers[WRITE_MULTI] = all_done
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    with Client(ours, "server", timeout=PATIENCE, on_gone=gone.append) as client:
        yield client


@pytest.fixture
def script(ours_and_script: tuple[socket.socket, Script]) -> Script:
    return ours_and_script[1]


def test_in_as_few_messages_as_may_be(multi: Client, script: Script) -> None:
    multi.region_write_multi(WRITES)
    assert script.requests(WRITE_MULTI) == [
        struct.pack("=Q", 2) + SAID[0] + SAID[1],
        struct.pack("=Q", 1) + SAID[2],
    ]
    assert script.requests(REGION_WRITE) == []


def test_none_is_no_message(multi: Client, script: Script) -> None:
    multi.region_write_multi([])
    assert script.requests(WRITE_MULTI) == []


def test_what_is_longer_than_it_can_say(multi: Client, script: Script) -> None:
    multi.region_write_multi([(0, 0, b"123456789"), (0, 9, b"1")])
    assert script.requests(WRITE_MULTI) == []
    assert [said[16:] for said in script.requests(REGION_WRITE)] == [b"123456789", b"1"]


def test_a_server_that_does_not_take_it(client: Client, script: Script) -> None:
    script.answers[REGION_WRITE] = lambda asked: asked.payload[:16]
    client.region_write_multi(WRITES)
    assert script.requests(REGION_WRITE) == [
        struct.pack("=QII", offset, index, len(data)) + data for index, offset, data in WRITES
    ]


def test_one_that_is_refused(multi: Client, script: Script, gone: list[VfioError]) -> None:
    """It ends there, and the error names it."""
    script.answers[WRITE_MULTI] = struct.pack("=Q", 1)
    with pytest.raises(DeviceError, match=r"writing 1 bytes at 0x10 of region 1.*EIO"):
        multi.region_write_multi(WRITES)
    script.answers[WRITE_MULTI] = errno.EPERM
    with pytest.raises(DeviceError, match=r"2 writes.*EPERM"):
        multi.region_write_multi(WRITES)
    assert len(script.requests(WRITE_MULTI)) == 2
    assert not gone


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "0 bytes of payload"),
        (bytes(7), "7 bytes"),
        (bytes(16), "16 bytes"),
        (struct.pack("=Q", 3), "3 writes, of 2"),
    ],
)
def test_lies(
    multi: Client, script: Script, gone: list[VfioError], answer: bytes, complaint: str
) -> None:
    script.answers[WRITE_MULTI] = answer
    with pytest.raises(ProtocolError, match=complaint) as caught:
        multi.region_write_multi(WRITES)
    assert_gone(multi, gone, caught.value)


def test_to_our_own_server() -> None:
    with FakeDevice() as device, client_of(device) as client:
        client.region_write_multi([(0, 2 * at, bytes([at, 1])) for at in range(200)])
        assert bytes(device.bytes[0][:400]) == b"".join(bytes([at, 1]) for at in range(200))
