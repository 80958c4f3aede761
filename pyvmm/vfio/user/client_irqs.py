# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ClientIrqs: what one client has set up of a served device's interrupts."""

from __future__ import annotations

import errno

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
)
from .. import irq_set
from ..device import Device, Fds
from ..errors import DeviceError
from ..eventfd import EventFd
from .survive import survive
from .transport import Message


class ClientIrqs:
    """Carries out SET_IRQS, and undoes it all when the client goes."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._used: set[int] = set()

    def set(self, message: Message) -> None:
        """Carry out a SET_IRQS message. Raises DeviceError: EINVAL for what makes no sense."""
        try:
            request = irq_set.unpack(message.payload)
        except ValueError as e:
            raise _invalid(f"with {e}") from None
        index, action, kind, start, count, data = request
        if index >= self._device.info.num_irqs:
            raise _invalid(f"of kind {index}")
        available = self._device.irq_info(index).count
        if start + count > available:
            raise _invalid(f"{start}+{count} of {available}")
        if message.fds and (kind != VFIO_IRQ_SET_DATA_EVENTFD or len(message.fds) != count):
            raise _invalid(f"{count} with {len(message.fds)} fds")
        if not count:
            if start or action != VFIO_IRQ_SET_ACTION_TRIGGER or kind != VFIO_IRQ_SET_DATA_NONE:
                raise _invalid("none at all")
            self._disable(index, available)
        elif kind == VFIO_IRQ_SET_DATA_NONE:
            try:
                self._device.set_irqs(index, action, start, count, None)
            except DeviceError as e:
                # What can't be masked isn't. libvfio-user's servers accept that too, and a client
                # that is refused would write to the table instead.
                if (e.errno, action) != (errno.ENOTTY, VFIO_IRQ_SET_ACTION_UNMASK):
                    raise
        elif kind == VFIO_IRQ_SET_DATA_BOOL:
            self._device.set_irqs(index, action, start, count, [bool(value) for value in data])
        else:
            for fd in message.fds:
                EventFd.from_fd(fd).close()  # or raise: no device is to signal anything else
            self._used.add(index)
            self._device.set_irqs(index, action, start, count, Fds(message.fds or [-1] * count))

    def _disable(self, index: int, available: int) -> None:
        self._used.discard(index)
        if available:
            self._device.disable_irqs(index)

    def close(self) -> None:
        """The client is gone: no interrupt of its goes anywhere any more. Idempotent."""
        for index in sorted(self._used):
            with survive(f"{self._device.name}: disabling interrupts of kind {index}"):
                self._device.disable_irqs(index)
        self._used.clear()


def _invalid(what: str) -> DeviceError:
    return DeviceError.answered(f"setting interrupts {what}", errno.EINVAL)
