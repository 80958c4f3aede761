# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Features, migration and DMA logs from our client through our server: the same as without."""

from __future__ import annotations

import contextlib
import errno
import struct
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi.vfio import VFIO_DEVICE_FLAGS_PCI, VFIO_MIGRATION_P2P
from pyvmm.vfio import Access, DeviceError, DeviceGone, DmaFault, EventFd, Feature, Interval
from pyvmm.vfio import MigrationState as State
from pyvmm.vfio.intervals import merge
from pyvmm.vfio.migration import MigrationData
from pyvmm.vfio.migration_states import path
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import FakeDevice
from tests.unit.vfio.migrating import (
    P2P,
    PRE_COPY,
    STOP_COPY,
    FakeMigration,
    MigratingDevice,
    client_of,
)

PAGE = 4096


@pytest.fixture
def device() -> Iterator[MigratingDevice]:
    with MigratingDevice() as device:
        yield device


@pytest.fixture
def client(device: MigratingDevice) -> Iterator[Client]:
    with client_of(device) as client:
        yield client


def test_the_features_there_are(client: Client) -> None:
    assert client.features.supported() == {
        Feature.MIGRATION: Access.GET,
        Feature.MIG_DEVICE_STATE: Access.GET | Access.SET,
        Feature.MIG_DATA_SIZE: Access.GET,
        Feature.DMA_LOGGING_START: Access.SET,
        Feature.DMA_LOGGING_STOP: Access.SET,
        Feature.DMA_LOGGING_REPORT: Access.GET,
    }


def test_a_device_without_any() -> None:
    with FakeDevice() as device, client_of(device) as client:
        assert not client.features.supported()
        for ask in (lambda: client.migration, lambda: client.dma_logging):
            with pytest.raises(DeviceError, match="its server hasn't got it") as caught:
                ask()
            assert caught.value.errno == errno.ENOTTY
        with pytest.raises(DeviceError, match=r"setting feature PCI_VF_TOKEN: .*ENOTTY"):
            client.features.set(Feature.PCI_VF_TOKEN, bytes(16))


def test_out_of_a_device(client: Client, device: MigratingDevice) -> None:
    migration = client.migration
    assert migration.states == {
        State.ERROR,
        State.STOP,
        State.RUNNING,
        State.STOP_COPY,
        State.RESUMING,
        State.PRE_COPY,
    }
    assert migration.data_size() == 100
    stream = migration.set_state(State.PRE_COPY)
    assert stream
    with stream:
        fake = device.fake_migration.streams[0]
        fake.dry = True
        assert stream.read(64) == bytes(range(64))
        assert migration.set_state(State.STOP_COPY) is None, "it goes on with the same stream"
        assert stream.read(64) == bytes(range(64, 100))
        assert stream.read(64) is None, "there is nothing more for now"
        fake.dry = False
        assert stream.read(64) == b""
        with pytest.raises(DeviceError, match="read until there is nothing more"):
            stream.precopy_info()
        migration.set_state(State.STOP)
        assert fake.closed
        with pytest.raises(DeviceError, match=r"reading 64 bytes of migration data: .*EINVAL"):
            stream.read(64)
    with pytest.raises(DeviceGone, match="closed"):
        stream.read(1)


def test_into_a_device_in_pieces(client: Client, device: MigratingDevice) -> None:
    data = bytes(range(256)) * 9000
    stream = client.migration.set_state(State.RESUMING)
    assert stream
    with stream:
        stream.write(data)
        fake = device.fake_migration.streams[0]
        assert fake.taken == data
        client.migration.set_state(State.RUNNING)
    assert fake.closed


def test_what_fails_on_the_way(client: Client, device: MigratingDevice) -> None:
    device.fake_migration.fails = DeviceError.answered("stopping", errno.EIO)
    with pytest.raises(DeviceError, match=r"MIG_DEVICE_STATE.*EIO.*it is in ERROR now; reset it"):
        client.migration.set_state(State.STOP_COPY)
    with pytest.raises(DeviceError, match="only a reset of the device ends ERROR"):
        client.migration.set_state(State.RUNNING)
    client.reset()
    assert client.migration.get_state() == State.RUNNING


def test_a_stream_ends_with_a_reset(client: Client, device: MigratingDevice) -> None:
    assert client.migration.set_state(State.RESUMING)
    client.reset()
    assert device.fake_migration.streams[0].closed
    stream = client.migration.set_state(State.RESUMING)
    assert stream
    device.fake_migration.fails = DeviceError.answered("loading", errno.EINVAL)
    with pytest.raises(DeviceError, match="EINVAL"):
        client.migration.set_state(State.STOP)
    assert device.fake_migration.streams[1].closed


@pytest.mark.parametrize("state", [State.STOP, State.STOP_COPY, State.RESUMING, State.PRE_COPY])
def test_a_clients_migration_ends_with_it(device: MigratingDevice, state: State) -> None:
    with client_of(device) as client:
        client.migration.set_state(state)
        client.dma_logging.start([])
    assert device.fake_migration.state == State.RUNNING
    assert all(stream.closed for stream in device.fake_migration.streams)
    assert device.log.started is None
    assert device.resets == 1


def test_a_device_goes_on_when_nothing_of_its_client_is_left(
    device: MigratingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is the destination's by then: no DMA and no interrupt may come any more."""
    device.info = device.info._replace(flags=VFIO_DEVICE_FLAGS_PCI)  # no reset, which goes on too
    left: list[object] = []
    go = FakeMigration._go

    def gone(
        migration: FakeMigration, before: State, way: tuple[State, ...]
    ) -> MigrationData | None:
        if way[-1] == State.RUNNING:
            left.append(dict(device.triggers))
            with contextlib.suppress(DmaFault):
                left.append(device.table.read(0x1000, 1))
        return go(migration, before, way)

    monkeypatch.setattr(FakeMigration, "_go", gone)
    with client_of(device) as client, EventFd() as eventfd, tempfile.TemporaryFile() as memory:
        memory.truncate(PAGE)
        client.dma.map(0x1000, PAGE, address=0, fd=memory.fileno())
        client.set_triggers(2, 0, [eventfd.fileno()])
        client.migration.set_state(State.STOP_COPY)
    assert left == [{}]


def test_a_half_migrated_device_is_reset_for_the_next_client(device: MigratingDevice) -> None:
    with client_of(device) as client:
        client.migration.set_state(State.RESUMING)
        device.fake_migration.fails = DeviceError.answered("loading", errno.EINVAL)
    assert device.resets == 1
    assert device.fake_migration.state == State.RUNNING


def test_who_has_the_device_sets_states_where_streams_are_somebodys(
    device: MigratingDevice,
) -> None:
    """Each look at its features is another object: none may keep what has to be closed."""
    features = device.features
    assert features.probe(Feature.MIG_DEVICE_STATE) == Access.GET
    with pytest.raises(DeviceError, match="setting feature MIG_DEVICE_STATE"):
        features.set(Feature.MIG_DEVICE_STATE, struct.pack("=Ii", State.RESUMING, -1))
    assert device.fake_migration.state == State.RUNNING


def test_states_for_peers_are_not_of_this_protocol(device: MigratingDevice) -> None:
    device.fake_migration.flags |= P2P
    with client_of(device) as client:
        assert not client.migration.flags & VFIO_MIGRATION_P2P
        with pytest.raises(DeviceError, match="migration from RUNNING to RUNNING_P2P"):
            client.migration.set_state(State.RUNNING_P2P)


walks = st.lists(st.sampled_from(State), max_size=12)


@given(walks, st.sampled_from([STOP_COPY, STOP_COPY | PRE_COPY]))
def test_every_walk_is_as_far_as_the_ways_go(walk: list[State], flags: int) -> None:
    with MigratingDevice() as device:
        device.fake_migration.flags = flags
        with client_of(device) as client:
            migration, here = client.migration, State.RUNNING
            for target in walk:
                if path(here, target, flags) is None:
                    with pytest.raises(DeviceError) as caught:
                        migration.set_state(target)
                    assert caught.value.errno == errno.EINVAL
                else:
                    migration.set_state(target)
                    here = target
                assert migration.get_state() == device.fake_migration.state == here


def test_a_log(client: Client, device: MigratingDevice) -> None:
    log = client.dma_logging
    ranges = [Interval(0x100000, 0x180000), Interval(1 << 40, 1 << 41)]
    assert log.start(ranges, PAGE) == 8192
    assert device.log.started == (ranges, PAGE)
    device.log.dirty = (Interval(0x101000, 0x103000), Interval(0x17F000, 0x180000))
    in_its_pages = (Interval(0x100000, 0x104000), Interval(0x17E000, 0x180000))
    assert log.report(ranges[0]) == in_its_pages
    log.stop()
    assert device.log.started is None


@given(pages=st.sets(st.integers(0, 5000)), transfer=st.sampled_from([40, 72, 1 << 20]))
def test_a_report_in_pieces(pages: set[int], transfer: int) -> None:
    """However little fits into a message."""
    dirty = merge(Interval.sized(page * PAGE, PAGE) for page in pages)
    with MigratingDevice() as device, client_of(device) as client:
        client._max_transfer = transfer
        device.log.dirty = dirty
        assert client.dma_logging.report(Interval(0, 5001 * PAGE)) == dirty


def test_logs_that_make_no_sense(client: Client) -> None:
    log = client.dma_logging
    for page_size in (0, 3, 1 << 64):
        with pytest.raises(DeviceError, match="page_size"):
            log.start([Interval(0, PAGE)], page_size)
    with pytest.raises(DeviceError, match="64 bits"):
        log.report(Interval(PAGE, PAGE))
