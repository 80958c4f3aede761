# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The ways between a migration's states, and the kernel's stream of data. No device at hand can."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, DeviceGone
from pyvmm.vfio.features import Feature
from pyvmm.vfio.kernel.features import KernelFeatures
from pyvmm.vfio.kernel.kernel_file import KernelFile
from pyvmm.vfio.kernel.migration import KernelMigration, KernelMigrationData
from pyvmm.vfio.migration import PrecopyInfo
from pyvmm.vfio.migration_states import SAVING, path, states
from pyvmm.vfio.migration_states import MigrationState as State
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, refuse

STOP_COPY, P2P = vfio.VFIO_MIGRATION_STOP_COPY, vfio.VFIO_MIGRATION_P2P
PRE_COPY = vfio.VFIO_MIGRATION_PRE_COPY
ALL = STOP_COPY | P2P | PRE_COPY
GET, SET = vfio.VFIO_DEVICE_FEATURE_GET, vfio.VFIO_DEVICE_FEATURE_SET

# What Linux documents for a device with all of it (vfio_mig_get_next_state()).
WAYS = """
PRE_COPY PRE_COPY_P2P STOP_COPY
PRE_COPY RUNNING RUNNING_P2P
PRE_COPY RUNNING RUNNING_P2P STOP
PRE_COPY RUNNING RUNNING_P2P STOP RESUMING
PRE_COPY_P2P RUNNING_P2P RUNNING
PRE_COPY_P2P RUNNING_P2P STOP
PRE_COPY_P2P RUNNING_P2P STOP RESUMING
RESUMING STOP RUNNING_P2P
RESUMING STOP RUNNING_P2P PRE_COPY_P2P
RESUMING STOP RUNNING_P2P RUNNING
RESUMING STOP RUNNING_P2P RUNNING PRE_COPY
RESUMING STOP STOP_COPY
RUNNING RUNNING_P2P PRE_COPY_P2P
RUNNING RUNNING_P2P STOP
RUNNING RUNNING_P2P STOP RESUMING
RUNNING RUNNING_P2P STOP STOP_COPY
RUNNING_P2P RUNNING PRE_COPY
RUNNING_P2P STOP RESUMING
RUNNING_P2P STOP STOP_COPY
STOP RUNNING_P2P PRE_COPY_P2P
STOP RUNNING_P2P RUNNING
STOP RUNNING_P2P RUNNING PRE_COPY
STOP_COPY STOP RESUMING
STOP_COPY STOP RUNNING_P2P
STOP_COPY STOP RUNNING_P2P RUNNING
RUNNING PRE_COPY
RUNNING RUNNING_P2P
PRE_COPY RUNNING
PRE_COPY PRE_COPY_P2P
PRE_COPY_P2P PRE_COPY
PRE_COPY_P2P RUNNING_P2P
PRE_COPY_P2P STOP_COPY
RESUMING STOP
RUNNING_P2P PRE_COPY_P2P
RUNNING_P2P RUNNING
RUNNING_P2P STOP
STOP RESUMING
STOP RUNNING_P2P
STOP STOP_COPY
STOP_COPY STOP
"""


def test_the_ways_are_the_kernels() -> None:
    ways = [tuple(State[name] for name in line.split()) for line in WAYS.split("\n") if line]
    expected = {(start, rest[-1]): tuple(rest) for start, *rest in ways}
    others = [s for s in State if s != State.ERROR]
    found = {(a, b): path(a, b, ALL) for a in others for b in others if a != b}
    assert {pair: states for pair, states in found.items() if states} == expected
    missing = {pair for pair, states in found.items() if states is None}
    assert missing == {
        (State.STOP_COPY, State.PRE_COPY),
        (State.STOP_COPY, State.PRE_COPY_P2P),
    }


some_flags = st.sampled_from([STOP_COPY, STOP_COPY | P2P, STOP_COPY | PRE_COPY, ALL])


@given(start=st.sampled_from(State), target=st.sampled_from(State), flags=some_flags)
def test_every_way_stays_within_the_device(start: State, target: State, flags: int) -> None:
    found = path(start, target, flags)
    if found is None:
        impossible = not {start, target} <= states(flags) or State.ERROR in (start, target)
        assert impossible or (start == State.STOP_COPY and target in SAVING)
    else:
        assert set(found) <= states(flags)
        assert found == () if start == target else found[-1] == target
        assert not SAVING & set(found[:-1]) or {start, target} <= SAVING


def test_without_the_optional_states_they_are_skipped() -> None:
    assert path(State.RUNNING, State.STOP_COPY, STOP_COPY) == (State.STOP, State.STOP_COPY)
    assert path(State.PRE_COPY, State.STOP_COPY, STOP_COPY | PRE_COPY) == (State.STOP_COPY,)
    assert path(State.RUNNING, State.RUNNING_P2P, STOP_COPY) is None
    assert path(State.RUNNING, State.STOP, 0) is None
    assert State.PRE_COPY_P2P not in states(STOP_COPY | PRE_COPY)


class FakeDevice:
    """The features of a device that migrates."""

    def __init__(self, flags: int = ALL) -> None:
        self.flags = flags
        self.state = int(State.RUNNING)
        self.data_fd = -1
        self.fails: tuple[int, State] | None = None  # an errno, and where it ends up
        self.v2 = False

    def handler(self, data: memoryview) -> None:
        feature, access = int.from_bytes(data[4:6], "little"), int.from_bytes(data[4:8], "little")
        if feature == Feature.MIGRATION:
            struct.pack_into("=Q", data, 8, self.flags)
        elif feature == Feature.MIG_DATA_SIZE:
            struct.pack_into("=Q", data, 8, 1 << 40)
        elif feature == Feature.MIG_PRECOPY_INFOv2 and access & SET:
            self.v2 = True
        elif feature == Feature.MIG_DEVICE_STATE and access & GET:
            struct.pack_into("=Ii", data, 8, self.state, -1)
        elif feature == Feature.MIG_DEVICE_STATE and self.fails:
            number, self.state = self.fails
            raise OSError(number, "")
        elif feature == Feature.MIG_DEVICE_STATE:
            self.state = struct.unpack_from("=I", data, 8)[0]
            struct.pack_into("=i", data, 12, self.data_fd)


@pytest.fixture
def device(kernel: FakeKernel) -> FakeDevice:
    device = FakeDevice()
    kernel.on("VFIO_DEVICE_FEATURE", device.handler)
    return device


@pytest.fixture
def migration(device: FakeDevice, file: KernelFile) -> KernelMigration:
    return KernelMigration(KernelFeatures(file))


def test_a_device_that_cannot(kernel: FakeKernel, file: KernelFile) -> None:
    with pytest.raises(DeviceError, match=r"feature MIGRATION.*ENOTTY.*driver made for the device"):
        KernelMigration(KernelFeatures(file))


def test_out_of_a_device(device: FakeDevice, migration: KernelMigration) -> None:
    assert migration.flags == ALL
    assert migration.states == set(State)
    assert migration.get_state() == State.RUNNING
    assert migration.data_size() == 1 << 40
    migration.use_precopy_info_v2()
    assert device.v2
    reading, writing = os.pipe()
    device.data_fd = reading
    stream = migration.set_state(State.PRE_COPY)
    assert stream
    with stream:
        device.data_fd = -1
        assert migration.set_state(State.STOP_COPY) is None
        assert migration.get_state() == State.STOP_COPY
        os.write(writing, b"all that there is")
        os.close(writing)
        assert stream.read(3) == b"all"
        assert stream.read(100) == b" that there is"
        assert stream.read(100) == b""
    stream.close()
    with pytest.raises(DeviceGone, match="closed"):
        stream.read(1)


def test_into_a_device(device: FakeDevice, migration: KernelMigration) -> None:
    reading, device.data_fd = os.pipe()
    with open(reading, "rb") as source:
        stream = migration.set_state(State.RESUMING)
        assert stream
        with stream:
            stream.write(memoryview(b"state"))
        assert source.read() == b"state"


def test_a_way_that_there_is_not(device: FakeDevice, migration: KernelMigration) -> None:
    device.state = State.STOP_COPY
    with pytest.raises(DeviceError) as caught:
        migration.set_state(State.PRE_COPY)
    assert caught.value.errno == errno.EINVAL
    assert "migration from STOP_COPY to PRE_COPY" in str(caught.value)
    assert str(caught.value).endswith("it can go to STOP, RUNNING, RESUMING, RUNNING_P2P")
    device.state = State.ERROR
    with pytest.raises(DeviceError, match="only a reset of the device ends ERROR"):
        migration.set_state(State.RUNNING)


@pytest.mark.parametrize(
    ("where", "cure"),
    [(State.STOP, "it is in STOP now"), (State.ERROR, "it is in ERROR now; reset it")],
)
def test_a_failure_tells_where_the_device_is(
    device: FakeDevice, migration: KernelMigration, where: State, cure: str
) -> None:
    device.fails = errno.EIO, where
    with pytest.raises(DeviceError, match="MIG_DEVICE_STATE: VFIO_DEVICE_FEATURE: EIO") as caught:
        migration.set_state(State.STOP_COPY)
    assert str(caught.value).endswith(cure)


def test_a_state_of_the_future(device: FakeDevice, migration: KernelMigration) -> None:
    device.state = 99
    with pytest.raises(DeviceError, match="migration state 99"):
        migration.get_state()


@pytest.fixture
def stream() -> Iterator[KernelMigrationData]:
    with KernelMigrationData(os.memfd_create("stream"), "fake") as stream:
        yield stream


def test_how_much_there_is(kernel: FakeKernel, stream: KernelMigrationData) -> None:
    def handler(data: memoryview) -> None:
        assert len(data) == int.from_bytes(data[:4], "little") == 24
        data[4:] = struct.pack("=IQQ", vfio.VFIO_PRECOPY_INFO_REINIT, 1 << 33, 5)

    kernel.on("VFIO_MIG_GET_PRECOPY_INFO", handler)
    assert stream.precopy_info() == PrecopyInfo(1 << 33, 5, True)
    kernel.on("VFIO_MIG_GET_PRECOPY_INFO", refuse(errno.EINVAL))
    with pytest.raises(DeviceError, match="only PRE_COPY and PRE_COPY_P2P have this"):
        stream.precopy_info()


def test_nothing_for_now_is_not_the_end(
    stream: KernelMigrationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(fd: int, size: int) -> bytes:
        raise OSError(number, "")

    monkeypatch.setattr("os.read", read)
    number = errno.ENOMSG
    assert stream.read(1) is None
    number = errno.EIO
    with pytest.raises(DeviceError, match="migration data: read: EIO"):
        stream.read(1)
