# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The client against a scripted server: interrupts."""

from __future__ import annotations

import errno
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
from pyvmm.vfio import (
    DeviceError,
    EventFd,
    Fds,
    ProtocolError,
    VfioError,
)
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    GET_IRQ_INFO,
    REGION_READ,
    RESET,
    SET_IRQS,
    Received,
    Script,
    assert_gone,
)


def test_irq_info(client: Client, script: Script) -> None:
    script.answers[GET_IRQ_INFO] = struct.pack("=IIII", 16, 9, 2, 64)
    info = client.irq_info(2)
    assert info == (2, 9, 64)
    assert (info.eventfd, info.noresize, info.maskable, info.automasked) == (
        True,
        True,
        False,
        False,
    )
    assert client.irq_info(2) is info
    assert script.requests(GET_IRQ_INFO) == [struct.pack("=IIII", 16, 0, 2, 0)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("=IIII", 16, 9, 2, 64)[:15],
        struct.pack("=IIII", 16, 9, 1, 64),
        struct.pack("=IIII", 16, 9, 2, 1 << 31),
    ],
)
def test_lies_about_interrupts(
    client: Client, script: Script, gone: list[VfioError], answer: bytes
) -> None:
    script.answers[GET_IRQ_INFO] = answer
    with pytest.raises(ProtocolError, match="GET_IRQ_INFO") as caught:
        client.irq_info(2)
    assert_gone(client, gone, caught.value)


EVENTFD = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD


def test_triggers_go_in_messages_of_as_many_fds_as_the_server_takes(
    client: Client, script: Script
) -> None:
    """And the holes between them in messages without fds."""
    script.answers[SET_IRQS] = b""
    with EventFd() as eventfd:
        fd = eventfd.fileno()
        client.set_triggers(1, 10, [fd, fd, fd, fd, -1, -1, fd])
    requests = [(asked.payload, len(asked.fds)) for asked in script.asked[2:]]
    assert requests == [
        (struct.pack("=IIIII", 20, EVENTFD, 1, 10, 3), 3),
        (struct.pack("=IIIII", 20, EVENTFD, 1, 13, 1), 1),
        (struct.pack("=IIIII", 20, EVENTFD, 1, 14, 2), 0),
        (struct.pack("=IIIII", 20, EVENTFD, 1, 16, 1), 1),
    ]


UNMASK = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE
MASK = VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE


def test_msix_vectors_with_an_eventfd_are_unmasked(client: Client, script: Script) -> None:
    """Servers with a table of their own have all of it masked, and see no writes to ours."""
    script.answers[SET_IRQS] = b""
    with EventFd() as eventfd:
        fd = eventfd.fileno()
        client.set_triggers(2, 10, [fd, fd, -1, fd])
    assert script.requests(SET_IRQS) == [
        struct.pack("=IIIII", 20, EVENTFD, 2, 10, 2),
        struct.pack("=IIIII", 20, UNMASK, 2, 10, 2),
        struct.pack("=IIIII", 20, EVENTFD, 2, 12, 1),
        struct.pack("=IIIII", 20, EVENTFD, 2, 13, 1),
        struct.pack("=IIIII", 20, UNMASK, 2, 13, 1),
    ]


def test_one_that_has_no_eventfd_any_more_is_masked_first(client: Client, script: Script) -> None:
    """What it would signal from then on is pending, rather than lost."""
    script.answers[SET_IRQS] = b""
    with EventFd() as eventfd:
        client.set_triggers(2, 3, [eventfd.fileno()] * 3)
        del script.asked[:]
        client.set_triggers(2, 4, [-1])
        client.set_triggers(2, 4, [-1])
        client.disable_irqs(2)
    assert script.requests(SET_IRQS) == [
        struct.pack("=IIIII", 20, MASK, 2, 4, 1),
        struct.pack("=IIIII", 20, EVENTFD, 2, 4, 1),
        struct.pack("=IIIII", 20, EVENTFD, 2, 4, 1),
        struct.pack("=IIIII", 20, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE, 2, 0, 0),
        struct.pack("=IIIII", 20, MASK, 2, 3, 1),
        struct.pack("=IIIII", 20, MASK, 2, 5, 1),
    ]


def test_a_vector_that_keeps_its_eventfd_is_not_masked_either(
    client: Client, script: Script
) -> None:
    def answer(received: Received) -> bytes | int:
        _, flags, _, _, count = struct.unpack_from("=IIIII", received.payload)
        return errno.EINVAL if flags == EVENTFD and not received.fds and count else b""

    script.answers[SET_IRQS] = answer
    with EventFd() as eventfd:
        client.set_triggers(2, 0, [eventfd.fileno()])
        with pytest.raises(DeviceError, match="EINVAL"):
            client.set_triggers(2, 0, [-1])
    assert script.requests(SET_IRQS)[-1] == struct.pack("=IIIII", 20, UNMASK, 2, 0, 1)


def test_a_server_that_has_no_masks_is_asked_once(client: Client, script: Script) -> None:
    def answer(received: Received) -> bytes | int:
        flags = struct.unpack_from("=II", received.payload)[1]
        return errno.EINVAL if flags == UNMASK else b""

    script.answers[SET_IRQS] = answer
    script.answers[REGION_READ] = errno.EINVAL
    with EventFd() as eventfd:
        client.set_triggers(2, 0, [eventfd.fileno()])
        client.set_triggers(2, 1, [eventfd.fileno()])
    assert script.requests(SET_IRQS) == [
        struct.pack("=IIIII", 20, EVENTFD, 2, 0, 1),
        struct.pack("=IIIII", 20, UNMASK, 2, 0, 1),
        struct.pack("=IIIII", 20, EVENTFD, 2, 1, 1),
    ]


def test_after_a_reset_they_are_unmasked_again(client: Client, script: Script) -> None:
    """A device's reset masks its table, as QEMU's does, and leaves the eventfds."""
    script.answers[SET_IRQS] = script.answers[RESET] = b""
    with EventFd() as eventfd:
        fd = eventfd.fileno()
        client.set_triggers(2, 3, [fd, fd, fd, fd])
        client.set_triggers(2, 4, [-1])
        del script.asked[:]
        client.reset()
    assert [asked.command for asked in script.asked] == [RESET, SET_IRQS, SET_IRQS]
    assert script.requests(SET_IRQS) == [
        struct.pack("=IIIII", 20, UNMASK, 2, 3, 1),
        struct.pack("=IIIII", 20, UNMASK, 2, 5, 2),
    ]
    client.disable_irqs(2)
    del script.asked[:]
    client.reset()
    assert not script.requests(SET_IRQS)


class MaskedTable:
    """A server with a table of its own, all masked, as QEMU's: what is masked is not signalled."""

    def __init__(self, script: Script) -> None:
        self.masked = set(range(8))
        script.answers[SET_IRQS] = self.set_irqs
        script.answers[RESET] = self.reset

    def set_irqs(self, asked: Received) -> bytes:
        _, flags, _, start, count = struct.unpack_from("=IIIII", asked.payload)
        vectors = set(range(start, start + count))
        if flags == UNMASK:
            self.masked -= vectors
        return b""

    def reset(self, _: Received) -> bytes:
        self.masked = set(range(8))
        return b""


def test_a_server_with_masks_of_its_own_delivers(client: Client, script: Script) -> None:
    server = MaskedTable(script)
    with EventFd() as eventfd:
        client.set_triggers(2, 0, [-1] * 8)
        assert server.masked == set(range(8))
        client.set_triggers(2, 1, [eventfd.fileno()])
        assert server.masked == {0, 2, 3, 4, 5, 6, 7}
        client.reset()
        assert server.masked == {0, 2, 3, 4, 5, 6, 7}


def test_the_other_ways_to_set_interrupts(client: Client, script: Script) -> None:
    script.answers[SET_IRQS] = b""
    client.disable_irqs(2)
    client.set_irqs(0, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)
    client.set_irqs(2, VFIO_IRQ_SET_ACTION_TRIGGER, 4, 3, [True, False, True])
    with EventFd() as eventfd:
        client.set_irqs(0, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, Fds([eventfd.fileno()]))
    none, by_bool = VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_BOOL
    trigger, unmask = VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK
    assert script.requests(SET_IRQS) == [
        struct.pack("=IIIII", 20, none | trigger, 2, 0, 0),
        struct.pack("=IIIII", 20, none | unmask, 0, 0, 1),
        struct.pack("=IIIII", 23, by_bool | trigger, 2, 4, 3) + b"\1\0\1",
        struct.pack("=IIIII", 20, VFIO_IRQ_SET_DATA_EVENTFD | unmask, 0, 0, 1),
    ]


def test_interrupts_the_server_refuses(client: Client, script: Script) -> None:
    script.answers[SET_IRQS] = errno.EINVAL
    with (
        EventFd() as eventfd,
        pytest.raises(DeviceError, match=r"setting interrupts 0\+1 of kind"),
    ):
        client.set_irqs(0, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, Fds([eventfd.fileno()]))
    with pytest.raises(DeviceError, match="3 interrupts with 1 values"):
        client.set_irqs(2, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 3, [True])
    with pytest.raises(DeviceError, match="passing fds 12345"):
        client.set_triggers(2, 0, [12345])
    script.answers[RESET] = b""
    client.reset()
