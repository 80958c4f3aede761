# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Migration, for real: from one of the kernel's sample serial ports (mtty) to another.

They are the only devices at hand that can: mediated devices, made and removed by sysfs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, DmaSpace, Interval
from pyvmm.vfio.features import Access, Feature
from pyvmm.vfio.kernel import KernelDevice
from pyvmm.vfio.kernel.call import call
from pyvmm.vfio.migration import MigrationData
from pyvmm.vfio.migration_states import MigrationState as State

BUSYBOX = "/run/pyvmm-lab/busybox"  # not every host has a modprobe
TYPES = Path("/sys/class/mdev_bus/mtty/mdev_supported_types")
BAR0, SCRATCH = 0, 7
ALL = vfio.VFIO_MIGRATION_STOP_COPY | vfio.VFIO_MIGRATION_P2P | vfio.VFIO_MIGRATION_PRE_COPY


@pytest.fixture
def serial_port() -> Iterator[Callable[[], KernelDevice]]:
    """Makes serial ports, each bound to an iommufd of its own."""
    subprocess.run([BUSYBOX, "modprobe", "mtty"], check=True)
    with ExitStack() as stack:

        def make() -> KernelDevice:
            name = str(uuid4())
            (TYPES / "mtty-1" / "create").write_text(name)
            sysfs = Path("/sys/bus/mdev/devices") / name
            stack.callback((sysfs / "remove").write_text, "1")
            (node,) = (sysfs / "vfio-dev").iterdir()
            iommufd = os.open("/dev/iommu", os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, iommufd)
            fd = os.open(f"/dev/vfio/devices/{node.name}", os.O_RDWR | os.O_CLOEXEC)
            size = ctypes.sizeof(vfio.vfio_device_bind_iommufd)
            request = vfio.vfio_device_bind_iommufd(size, 0, iommufd)
            call(fd, "VFIO_DEVICE_BIND_IOMMUFD", request, doing=f"binding {name}")
            space = cast(DmaSpace, None)  # it does no DMA
            return stack.enter_context(KernelDevice(fd, name, space, lambda: None, fd))

        yield make


def everything(stream: MigrationData) -> bytes:
    """All until the end; in pieces, as they come."""
    pieces: list[bytes] = []
    while piece := stream.read(7):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_state_goes_from_one_device_to_another(serial_port: Callable[[], KernelDevice]) -> None:
    source, target = serial_port(), serial_port()
    migration = source.migration
    assert migration.flags == ALL
    assert source.features.supported() == {
        Feature.MIGRATION: Access.GET,
        Feature.MIG_DEVICE_STATE: Access.GET | Access.SET,
        Feature.MIG_DATA_SIZE: Access.GET,
        Feature.DMA_LOGGING_START: Access.SET,
        Feature.DMA_LOGGING_STOP: Access.SET,
        Feature.DMA_LOGGING_REPORT: Access.GET,
    }
    assert migration.get_state() == State.RUNNING
    stream = migration.set_state(State.PRE_COPY)
    assert stream
    with stream:
        info = stream.precopy_info()
        assert info.initial_bytes > 0
        data = everything(stream)
        assert len(data) == info.initial_bytes
        assert stream.precopy_info().initial_bytes == 0
        source.region_write(BAR0, SCRATCH, b"\x5a")
        assert migration.set_state(State.STOP_COPY) is None, "it goes on with the same stream"
        with pytest.raises(DeviceError, match="only PRE_COPY"):
            stream.precopy_info()
        data += everything(stream)
        assert len(data) == migration.data_size()
        with pytest.raises(DeviceError, match="STOP_COPY to PRE_COPY: EINVAL") as caught:
            migration.set_state(State.PRE_COPY)
        assert "it can go to STOP" in str(caught.value)
        assert migration.set_state(State.STOP) is None
        with pytest.raises(DeviceError, match="has left the states") as caught:
            stream.read(1)
        assert caught.value.errno == errno.ENODEV
    assert target.region_read(BAR0, SCRATCH, 1) == b"\0"
    stream = target.migration.set_state(State.RESUMING)
    assert stream
    with stream:
        stream.write(data[:9])
        stream.write(data[9:])
        target.migration.set_state(State.RUNNING)
    assert target.migration.get_state() == State.RUNNING
    assert target.region_read(BAR0, SCRATCH, 1) == b"\x5a"


def test_every_way_that_the_kernel_goes(serial_port: Callable[[], KernelDevice]) -> None:
    """That there is no stream left is seen by the check for open files."""
    device = serial_port()
    migration = device.migration
    for state in (
        State.RUNNING_P2P,
        State.PRE_COPY_P2P,
        State.PRE_COPY,
        State.RUNNING,
        State.STOP_COPY,
        State.RUNNING_P2P,
        State.STOP,
        State.PRE_COPY,
    ):
        if stream := migration.set_state(state):
            stream.close()
        assert migration.get_state() == state
    device.reset()
    assert migration.get_state() == State.RUNNING


def test_a_state_that_is_none(serial_port: Callable[[], KernelDevice]) -> None:
    device = serial_port()
    migration = device.migration
    stream = migration.set_state(State.RESUMING)
    assert stream
    with stream:
        with pytest.raises(DeviceError, match="migration data: write: EFAULT"):
            stream.write(bytes(24))
        with pytest.raises(DeviceError, match="it is in RESUMING now"):
            migration.set_state(State.RUNNING)
    device.reset()
    assert migration.get_state() == State.RUNNING


def test_a_log_of_dma(serial_port: Callable[[], KernelDevice]) -> None:
    """Theirs is always empty; but what the kernel takes and refuses is as for any."""
    logging = serial_port().dma_logging
    ranges = [Interval(0, 1 << 30), Interval(1 << 32, 1 << 40)]
    assert logging.start(ranges, 4096) == 4096
    assert logging.report(ranges[0], 4096) == ()
    assert logging.report(Interval(1 << 32, 3 << 32), 2 << 20) == ()
    logging.stop()
    with pytest.raises(DeviceError, match="whole pages, and not overlap"):
        logging.start([Interval(0, 0x2000), Interval(0x1000, 0x3000)])
    with pytest.raises(DeviceError, match="whole pages, and not overlap"):
        logging.start([Interval(0, 0x1001)])
    with pytest.raises(DeviceError, match="EINVAL"):
        logging.start([])
    with pytest.raises(DeviceError, match="too many ranges"):
        logging.start([Interval.sized(n << 20, 1 << 16) for n in range(257)])
    with pytest.raises(DeviceError, match="from 4096 up"):
        logging.report(ranges[0], 2048)
