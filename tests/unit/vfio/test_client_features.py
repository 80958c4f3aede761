# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Features, migration and DMA logs of a scripted server: how others answer, and what lies do."""

from __future__ import annotations

import errno
import struct

import pytest

from pyvmm.vfio import Access, DeviceError, Interval, ProtocolError, VfioError
from pyvmm.vfio import MigrationState as State
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import Answer, Received, Script, assert_gone
from tests.unit.vfio.migrating import DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
MIGRATION, MIG_STATE, START, STOP_LOG, REPORT = 1, 2, 6, 7, 8
PAGE = 4096


class Served:
    """A device that migrates as libvfio-user's do: in and out of states, and in bytes."""

    def __init__(self, script: Script) -> None:
        self.state = int(State.RUNNING)
        self.data = bytes(range(50))
        script.answers[DEVICE_FEATURE] = self.feature
        script.answers[MIG_DATA_READ] = self.read
        script.answers[MIG_DATA_WRITE] = b""

    def feature(self, asked: Received) -> Answer:
        argsz, flags = struct.unpack_from("=II", asked.payload)
        if flags & PROBE:
            return asked.payload
        if flags == GET | MIGRATION:
            assert (argsz, len(asked.payload)) == (16, 8), "there is no data in the request"
            return struct.pack("=IIQ", 16, flags, 0b101)
        if flags == GET | MIG_STATE:
            assert (argsz, len(asked.payload)) == (16, 8)
            return struct.pack("=IIII", 16, flags, self.state, 0)
        if flags == SET | MIG_STATE:
            self.state = struct.unpack_from("=I", asked.payload, 8)[0]
            return asked.payload
        if flags == GET | REPORT:
            if argsz < len(asked.payload) + 8:
                return errno.EINVAL
            return struct.pack("=I", argsz) + asked.payload[4:] + struct.pack("=Q", 0b101)
        return asked.payload

    def read(self, asked: Received) -> Answer:
        """The message is padded to what was asked for; its size tells how much of it counts."""
        _, size = struct.unpack("=II", asked.payload)
        piece, self.data = self.data[:size], self.data[size:]
        return struct.pack("=II", 8 + len(piece), len(piece)) + piece.ljust(size, b"\0")


@pytest.fixture
def served(script: Script) -> Served:
    return Served(script)


def test_a_server_of_libvfio_user(client: Client, script: Script, served: Served) -> None:
    stream = client.migration.set_state(State.STOP_COPY)
    assert stream
    assert [stream.read(1000) for _ in range(2)] == [bytes(range(50)), b""]
    # The script takes 64 bytes of data at a time.
    assert script.requests(MIG_DATA_READ) == [struct.pack("=II", 72, 64)] * 2
    stream = client.migration.set_state(State.RESUMING)
    assert stream
    stream.write(bytes(70))
    assert script.requests(MIG_DATA_WRITE) == [
        struct.pack("=II", 72, 64) + bytes(64),
        struct.pack("=II", 14, 6) + bytes(6),
    ]
    log = client.dma_logging
    assert log.start([Interval(0, PAGE)]) == PAGE
    assert log.report(Interval(0, 4 * PAGE)) == (
        Interval(0, PAGE),
        Interval(2 * PAGE, 3 * PAGE),
    )


def test_a_server_is_asked_once_what_it_has(client: Client, script: Script, served: Served) -> None:
    assert served
    first = client.features, client.migration, client.dma_logging
    asked = len(script.requests(DEVICE_FEATURE))
    assert (client.features, client.migration, client.dma_logging) == first
    assert len(script.requests(DEVICE_FEATURE)) == asked


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, 0])
def test_a_server_that_has_no_features(client: Client, script: Script, number: int) -> None:
    """libvfio-user says EINVAL; rust-vmm gives no reason; others say what Linux does."""
    script.answers[DEVICE_FEATURE] = number
    assert client.features.probe(MIGRATION) == Access(0)
    for ask in (lambda: client.migration, lambda: client.dma_logging):
        with pytest.raises(DeviceError, match="its server hasn't got it") as caught:
            ask()
        assert caught.value.errno == errno.ENOTTY


def test_a_server_that_is_in_trouble(client: Client, script: Script) -> None:
    script.answers[DEVICE_FEATURE] = errno.EIO
    for ask in (lambda: client.features.probe(MIGRATION), lambda: client.migration):
        with pytest.raises(DeviceError, match=r"feature MIGRATION.*EIO"):
            ask()


def test_a_server_that_does_not_read_what_it_refuses(
    client: Client, script: Script, gone: list[VfioError]
) -> None:
    """As rust-vmm's does with commands it doesn't know: it takes the rest for a message."""

    def answer(asked: Received) -> None:
        script.peer.send(DEVICE_FEATURE, id=asked.id, flags=0x21, error=0)
        script.peer.send(0, id=8, flags=0x21, error=0)

    script.answers[DEVICE_FEATURE] = answer
    with pytest.raises(VfioError):
        client.features.supported()
    assert client.gone
    assert "it refused VFIO_USER_DEVICE_FEATURE: it seems to have read only a part" in str(gone[0])


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("=II", 16, GET | MIGRATION)[:7],
        struct.pack("=II", 16, GET | MIGRATION),
        struct.pack("=IIQ", 16, GET | MIG_STATE, 1),
        struct.pack("=IIQQ", 24, GET | MIGRATION, 1, 1),
    ],
)
def test_lies_about_migration(
    client: Client, script: Script, gone: list[VfioError], answer: bytes
) -> None:
    script.answers[DEVICE_FEATURE] = answer
    with pytest.raises(ProtocolError, match="VFIO_USER_DEVICE_FEATURE") as caught:
        _ = client.migration
    assert_gone(client, gone, caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("=II", 8, 1),
        struct.pack("=II", 8 + 9, 9) + bytes(9),
        struct.pack("=II", 0xFFFFFFFF, 0xFFFFFFFF) + bytes(8),
    ],
)
def test_lies_about_migration_data(
    client: Client, script: Script, served: Served, gone: list[VfioError], answer: bytes
) -> None:
    stream = client.migration.set_state(State.STOP_COPY)
    assert stream
    script.answers[MIG_DATA_READ] = answer
    with pytest.raises(ProtocolError, match="MIG_DATA_READ") as caught:
        stream.read(8)
    assert_gone(client, gone, caught.value)


def test_a_state_that_there_is_not(client: Client, served: Served) -> None:
    served.state = 99
    with pytest.raises(DeviceError, match="migration state 99"):
        client.migration.get_state()


@pytest.mark.parametrize("size", [0, 23, 24, 40])
def test_lies_about_a_log(client: Client, script: Script, gone: list[VfioError], size: int) -> None:
    def answer(asked: Received) -> Answer:
        flags = struct.unpack_from("=II", asked.payload)[1]
        return asked.payload if flags & PROBE else asked.payload[:8] + bytes(size)

    script.answers[DEVICE_FEATURE] = answer
    log = client.dma_logging
    with pytest.raises(ProtocolError, match="DMA_LOGGING_REPORT instead of 32") as caught:
        log.report(Interval(0, PAGE))
    assert_gone(client, gone, caught.value)
