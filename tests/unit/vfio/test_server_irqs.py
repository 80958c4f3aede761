# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The server, spoken to in bytes: SET_IRQS."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
)
from pyvmm.vfio import EventFd, Fds
from tests.unit.vfio.fakes import (
    SET_IRQS,
    FakeDevice,
    Peer,
    wait_until,
)

BAR0, BAR2, CONFIG = 0, 2, 7
INTX, MSIX = 0, 2
TRIGGER_EVENTFD = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
TRIGGER_NONE = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE
TRIGGER_BOOL = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_BOOL


def irq_set(
    flags: int, index: int, start: int, count: int, data: bytes = b"", argsz: int | None = None
) -> bytes:
    argsz = 20 + len(data) if argsz is None else argsz
    return struct.pack("=IIIII", argsz, flags, index, start, count) + data


def test_triggers(peer: Peer, device: FakeDevice) -> None:
    with EventFd() as one, EventFd() as other:
        fds = [one.fileno(), other.fileno()]
        assert peer.answered(SET_IRQS, irq_set(TRIGGER_EVENTFD, MSIX, 5, 2), fds) == b""
        device.triggers[MSIX, 6].signal()
        assert (one.read(), other.read()) == (0, 1)
        peer.answered(SET_IRQS, irq_set(TRIGGER_NONE, MSIX, 5, 2))
        assert (one.read(), other.read()) == (1, 1)
        peer.answered(SET_IRQS, irq_set(TRIGGER_BOOL, MSIX, 5, 2, b"\1\0"))
        assert (one.read(), other.read()) == (1, 0)
        peer.answered(SET_IRQS, irq_set(TRIGGER_EVENTFD, MSIX, 6, 1))
        assert device.irq_calls[-1] == (MSIX, VFIO_IRQ_SET_ACTION_TRIGGER, 6, 1, Fds([-1]))
        assert list(device.triggers) == [(MSIX, 5)]
        peer.answered(SET_IRQS, irq_set(TRIGGER_NONE, MSIX, 0, 0))
        assert not device.triggers


def test_all_interrupts_of_a_kind_that_has_none_can_be_disabled(
    peer: Peer, device: FakeDevice
) -> None:
    peer.answered(SET_IRQS, irq_set(TRIGGER_NONE, 1, 0, 0))
    assert not device.irq_calls


UNMASK_EVENTFD = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_EVENTFD


def test_an_eventfd_that_unmasks_is_the_devices(peer: Peer, device: FakeDevice) -> None:
    with EventFd() as unmask:
        fd = unmask.fileno()
        peer.answered(SET_IRQS, irq_set(UNMASK_EVENTFD, INTX, 0, 1), [fd])
        unmask.signal()
        assert device.unmasks[INTX, 0].read() == 1
        peer.answered(SET_IRQS, irq_set(UNMASK_EVENTFD, INTX, 0, 1))
        assert device.irq_calls[-1] == (INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, Fds([-1]))
        assert not device.unmasks
        peer.answered(SET_IRQS, irq_set(UNMASK_EVENTFD, INTX, 0, 1), [fd])
    peer.close()
    wait_until(lambda: not device.unmasks)  # with the client


@pytest.mark.parametrize(
    ("action", "index"), [(VFIO_IRQ_SET_ACTION_MASK, INTX), (VFIO_IRQ_SET_ACTION_UNMASK, MSIX)]
)
def test_what_can_not_be_masked_by_eventfd_is_the_devices_to_say(
    peer: Peer, device: FakeDevice, action: int, index: int
) -> None:
    payload = irq_set(action | VFIO_IRQ_SET_DATA_EVENTFD, index, 0, 1)
    with EventFd() as eventfd:
        assert peer.refused(SET_IRQS, payload, [eventfd.fileno()]) == errno.ENOTTY
        assert [call[:2] for call in device.irq_calls] == [(index, action)]


def test_vectors_that_can_not_be_masked_are_not(peer: Peer) -> None:
    """So a client that says UNMASK, lest they are, has what it wants; MASK would be a promise."""
    unmask = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE
    mask = VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE
    peer.answered(SET_IRQS, irq_set(unmask, MSIX, 0, 3))
    assert peer.refused(SET_IRQS, irq_set(mask, MSIX, 0, 3)) == errno.ENOTTY


@pytest.mark.parametrize(
    ("payload", "fds"),
    [
        (irq_set(TRIGGER_NONE, MSIX, 0, 1)[:19], 0),
        (irq_set(TRIGGER_NONE, MSIX, 0, 1, argsz=19), 0),
        (irq_set(TRIGGER_NONE, 5, 0, 1), 0),
        (irq_set(TRIGGER_NONE, 0xFFFFFFFF, 0, 1), 0),
        (irq_set(TRIGGER_NONE, MSIX, 600, 1), 0),
        (irq_set(TRIGGER_NONE, MSIX, 599, 2), 0),
        (irq_set(TRIGGER_NONE, MSIX, 1, 0xFFFFFFFF), 0),
        (irq_set(TRIGGER_NONE, MSIX, 0xFFFFFFFF, 1), 0),
        (irq_set(TRIGGER_NONE, MSIX, 1, 0), 0),
        (irq_set(TRIGGER_BOOL, MSIX, 0, 0), 0),
        (irq_set(TRIGGER_EVENTFD, MSIX, 0, 0), 0),
        (irq_set(VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE, INTX, 0, 0), 0),
        (irq_set(TRIGGER_NONE, MSIX, 0, 1), 1),
        (irq_set(TRIGGER_BOOL, MSIX, 0, 1, b"\1"), 1),
        (irq_set(TRIGGER_BOOL, MSIX, 0, 2, b"\1"), 0),
        (irq_set(TRIGGER_BOOL, MSIX, 0, 1, b"\1\1"), 0),
        (irq_set(TRIGGER_EVENTFD, MSIX, 0, 1), 2),
        (irq_set(TRIGGER_EVENTFD, MSIX, 0, 2), 1),
        (irq_set(VFIO_IRQ_SET_DATA_NONE, MSIX, 0, 1), 0),
        (irq_set(VFIO_IRQ_SET_ACTION_TRIGGER, MSIX, 0, 1), 0),
        (irq_set(TRIGGER_NONE | VFIO_IRQ_SET_ACTION_MASK, MSIX, 0, 1), 0),
        (irq_set(TRIGGER_NONE | VFIO_IRQ_SET_DATA_BOOL, MSIX, 0, 1, b"\1"), 0),
        (irq_set(TRIGGER_NONE | 1 << 6, MSIX, 0, 1), 0),
    ],
)
def test_set_irqs_refused(peer: Peer, device: FakeDevice, payload: bytes, fds: int) -> None:
    with EventFd() as eventfd:
        assert peer.refused(SET_IRQS, payload, [eventfd.fileno()] * fds) == errno.EINVAL
    assert not device.irq_calls


def test_triggers_must_be_eventfds(peer: Peer, device: FakeDevice) -> None:
    reader, writer = os.pipe()
    with EventFd() as eventfd:
        fds = [eventfd.fileno(), writer]
        assert peer.refused(SET_IRQS, irq_set(TRIGGER_EVENTFD, MSIX, 0, 2), fds) == errno.EINVAL
    assert not device.irq_calls
    os.close(reader)
    os.close(writer)
