# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ClientIrqs: what one client has set up of a served device's interrupts."""

from __future__ import annotations

import contextlib
import errno
import select
import threading

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_TYPE_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
    VFIO_IRQ_SET_DATA_TYPE_MASK,
)
from ..device import Device, Fds
from ..errors import DeviceError
from ..eventfd import EventFd
from .protocol import IRQ_SET
from .survive import survive
from .transport import Message

_ACTIONS = (VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_ACTION_TRIGGER)


class ClientIrqs:
    """Carries out SET_IRQS, and undoes it all when the client goes; owns what it watches.

    The device sees kernel VFIO's actions, but for MASK and UNMASK by eventfd: those eventfds
    are watched here, and become MASK and UNMASK by call.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._used: set[int] = set()
        self._watcher: _Watcher | None = None

    def set(self, message: Message) -> None:
        """Carry out a SET_IRQS message. Raises DeviceError: EINVAL for what makes no sense."""
        payload = message.payload
        if len(payload) < IRQ_SET.size:
            raise _invalid("with a short payload")
        argsz, flags, index, start, count = IRQ_SET.unpack_from(payload)
        data = payload[IRQ_SET.size :]
        action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK
        kind = flags & VFIO_IRQ_SET_DATA_TYPE_MASK
        if argsz < IRQ_SET.size or flags != action | kind or action not in _ACTIONS:
            raise _invalid(f"with argsz {argsz}, flags {flags:#x}")
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
            self._device.set_irqs(index, action, start, count, None)
        elif kind == VFIO_IRQ_SET_DATA_BOOL:
            if len(data) != count:
                raise _invalid(f"{count} with {len(data)} booleans")
            self._device.set_irqs(index, action, start, count, [bool(value) for value in data])
        elif kind == VFIO_IRQ_SET_DATA_EVENTFD:
            self._set_eventfds(index, action, start, count, message.fds)
        else:
            raise _invalid(f"with flags {flags:#x}")

    def _disable(self, index: int, available: int) -> None:
        if self._watcher:
            self._watcher.forget(index)
        self._used.discard(index)
        if available:
            self._device.disable_irqs(index)

    def _set_eventfds(
        self, index: int, action: int, start: int, count: int, fds: list[int]
    ) -> None:
        with contextlib.ExitStack() as stack:
            eventfds = [stack.enter_context(EventFd.from_fd(fd)) for fd in fds]
            if action == VFIO_IRQ_SET_ACTION_TRIGGER:
                self._used.add(index)
                triggers = Fds(fds or [-1] * count)
                self._device.set_irqs(index, action, start, count, triggers)
                return
            if not self._device.irq_info(index).maskable:
                raise _invalid("that can't be masked")
            self._watcher = self._watcher or _Watcher(self._device)
            for vector in range(start, start + count):
                self._watcher.forget(index, action, vector)
            for vector, eventfd in enumerate(eventfds, start):
                self._watcher.watch(index, action, vector, eventfd)
            stack.pop_all()

    def close(self) -> None:
        """The client is gone: no interrupt of its goes anywhere any more. Idempotent."""
        if self._watcher:
            self._watcher.close()
            self._watcher = None
        for index in sorted(self._used):
            with survive(f"{self._device.name}: disabling interrupts of kind {index}"):
                self._device.disable_irqs(index)
        self._used.clear()


def _invalid(what: str) -> DeviceError:
    return DeviceError.answered(f"setting interrupts {what}", errno.EINVAL)


class _Watcher:
    """A thread that masks and unmasks interrupts as eventfds are signalled; owns those."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._watched: dict[tuple[int, int, int], EventFd] = {}
        self._stop = EventFd()
        self._epoll = select.epoll()
        self._epoll.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name=f"{device.name} unmask", daemon=True)
        self._thread.start()

    def watch(self, index: int, action: int, vector: int, eventfd: EventFd) -> None:
        with self._lock:
            self._watched[index, action, vector] = eventfd
            self._epoll.register(eventfd, select.EPOLLIN)

    def forget(self, index: int, action: int | None = None, vector: int | None = None) -> None:
        with self._lock:
            for key in [
                key
                for key in self._watched
                if key[0] == index and action in (None, key[1]) and vector in (None, key[2])
            ]:
                eventfd = self._watched.pop(key)
                self._epoll.unregister(eventfd)
                eventfd.close()

    def _run(self) -> None:
        while True:
            ready = {fd for fd, _ in self._epoll.poll()}
            if self._stop.fileno() in ready:
                return
            with self._lock:
                signalled = [
                    key
                    for key, eventfd in self._watched.items()
                    if eventfd.fileno() in ready and eventfd.read()
                ]
            for index, action, vector in signalled:
                with survive(f"{self._device.name}: action {action:#x} on interrupt {vector}"):
                    self._device.set_irqs(index, action, vector, 1, None)

    def close(self) -> None:
        self._stop.signal()
        self._thread.join()
        for eventfd in self._watched.values():
            eventfd.close()
        self._watched.clear()
        self._epoll.close()
        self._stop.close()
