# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Our client of servers that keep masks of MSI-X vectors themselves, and of such as don't."""

from __future__ import annotations

import errno
import logging
import struct
from collections.abc import Iterator

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from pyvmm.vfio import DeviceError, EventFd, IrqData
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import FakeDevice
from tests.unit.vfio.migrating import client_of

CONFIG, MSIX = VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
MASK, UNMASK = VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK
BAR, TABLE, VECTORS = 0, 0x400, 32


class Masking(FakeDevice):
    """Signals no vector that is masked in its table, which a reset masks; it is pending then."""

    def __init__(self, *takes: int) -> None:
        """takes are the actions that it knows of; its table can be written all the same."""
        super().__init__()
        self.takes = takes
        self.told: list[tuple[int, int, int]] = []
        self.pending: set[int] = set()
        config = self.bytes[CONFIG]
        config[0x06], config[0x34] = 0x10, 0x40
        config[0x40:0x42] = b"\x01\x50"  # power management, and the next
        config[0x50:0x5C] = struct.pack("<BBHII", 0x11, 0, VECTORS - 1, TABLE | BAR, 0x800 | BAR)
        self.mask_all()

    def mask_all(self) -> None:
        self.bytes[BAR][TABLE : TABLE + 16 * VECTORS] = struct.pack("<QII", 0, 0, 1) * VECTORS

    @property
    def unmasked(self) -> set[int]:
        return {v for v in range(VECTORS) if not self.bytes[BAR][TABLE + 16 * v + 12] & 1}

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        if index != MSIX or action not in (MASK, UNMASK):
            super().set_irqs(index, action, start, count, data)
            return
        self.told.append((action, start, count))
        if action not in self.takes:
            raise DeviceError.answered("masking", errno.EINVAL)
        for vector in range(start, start + count):
            self.bytes[BAR][TABLE + 16 * vector + 12] = action == MASK
        self.deliver()

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        super().region_write(index, offset, data)
        self.deliver()

    def signal(self, vector: int) -> None:
        self.pending.add(vector)
        self.deliver()

    def deliver(self) -> None:
        for vector in self.pending & self.unmasked:
            self.pending.remove(vector)
            if (MSIX, vector) in self.triggers:
                self.triggers[MSIX, vector].signal()

    def reset(self) -> None:
        super().reset()
        self.mask_all()
        self.pending.clear()


@pytest.fixture(params=[(MASK, UNMASK), (UNMASK,), ()], ids=["both", "unmask", "table"])
def device(request: pytest.FixtureRequest) -> Iterator[Masking]:
    with Masking(*request.param) as device:
        yield device


@pytest.fixture
def client(device: Masking) -> Iterator[Client]:
    with client_of(device) as client:
        yield client


def test_it_delivers(client: Client, device: Masking) -> None:
    with EventFd() as one, EventFd() as other:
        device.signal(3)
        client.set_triggers(MSIX, 0, [-1, one.fileno(), -1, other.fileno()])
        assert device.unmasked == {1, 3}
        device.signal(1)
        device.signal(2)
        assert (one.read(), other.read(), device.pending) == (1, 1, {2})
        client.reset()
        assert device.unmasked == {1, 3}
        device.signal(1)
        assert one.read() == 1


def test_a_vector_that_loses_its_eventfd_is_masked_where_that_can_be(
    client: Client, device: Masking
) -> None:
    """And what it signals meanwhile comes when it has one again."""
    with EventFd() as eventfd:
        client.set_triggers(MSIX, 0, [eventfd.fileno()] * 4)
        client.set_triggers(MSIX, 1, [-1, -1])
        if device.takes != (UNMASK,):
            assert device.unmasked == {0, 3}
            device.signal(1)
            assert device.pending == {1}
        client.set_triggers(MSIX, 1, [eventfd.fileno()])
        assert 1 in device.unmasked
        if device.takes != (UNMASK,):
            assert eventfd.read() == 1
        client.disable_irqs(MSIX)
        if device.takes != (UNMASK,):
            assert not device.unmasked
        client.reset()
        assert not device.unmasked


def test_what_it_refuses_is_asked_once() -> None:
    with Masking() as device, client_of(device) as client, EventFd() as eventfd:
        for vector in range(3):
            client.set_triggers(MSIX, vector, [eventfd.fileno()])
        client.disable_irqs(MSIX)
        assert device.told == [(UNMASK, 0, 1)]
    with Masking(UNMASK) as device, client_of(device) as client, EventFd() as eventfd:
        client.set_triggers(MSIX, 0, [eventfd.fileno()] * 2)
        client.set_triggers(MSIX, 1, [-1])
        client.set_triggers(MSIX, 0, [-1])
        assert device.told == [(UNMASK, 0, 2), (MASK, 1, 1)]


def no_capability(device: Masking) -> None:
    device.bytes[CONFIG][0x06] = 0


def another_capability(device: Masking) -> None:
    device.bytes[CONFIG][0x50] = 0x01


def a_circle(device: Masking) -> None:
    device.bytes[CONFIG][0x50:0x52] = b"\x01\x40"


def at_the_end(device: Masking) -> None:
    device.bytes[CONFIG][0x41], device.bytes[CONFIG][0xFC] = 0xFC, 0x11


def no_such_region(device: Masking) -> None:
    device.bytes[CONFIG][0x54] |= 5


def refused(device: Masking) -> None:
    def refuse(index: int, offset: int, data: bytes) -> None:
        raise DeviceError.answered("writing", errno.EINVAL)

    device.on_write = refuse


def ignored(device: Masking) -> None:
    device.deliver = device.mask_all  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "broken",
    [
        no_capability,
        another_capability,
        a_circle,
        at_the_end,
        no_such_region,
        refused,
        ignored,
    ],
)
def test_one_that_can_be_told_in_no_way_is_told_of_once(
    broken: object, caplog: pytest.LogCaptureFixture
) -> None:
    with Masking() as device, client_of(device) as client, EventFd() as eventfd:
        assert callable(broken)
        broken(device)
        with caplog.at_level(logging.WARNING):
            for vector in range(3):
                client.set_triggers(MSIX, vector, [eventfd.fileno()])
            client.disable_irqs(MSIX)
    (record,) = caplog.records
    assert "takes neither UNMASK for MSI-X vectors nor writes to their table" in record.message


def test_one_that_can_be_written_later_is_not_given_up() -> None:
    """As QEMU's, whose BARs are nowhere until the guest has placed them."""
    with Masking() as device, client_of(device) as client, EventFd() as eventfd:
        refused(device)
        client.set_triggers(MSIX, 0, [eventfd.fileno()])
        device.on_write = None
        client.set_triggers(MSIX, 1, [eventfd.fileno()])
        assert device.unmasked == {1}
        client.reset()
        assert device.unmasked == {0, 1}
