# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Notices: what the kernel tells a device's user unasked: the host wants it back, it has failed.

See VFIO_PCI_REQ_IRQ_INDEX and VFIO_PCI_ERR_IRQ_INDEX in <linux/vfio.h>.
"""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Callable

from ...uapi.vfio import VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX
from ..device import Device
from ..errors import VfioError
from ..eventfd import EventFd

Notice = Callable[[], None]


class Notices:
    """Calls back, on a thread of its own, when the kernel has a notice; a context manager.

    One that the device has no interrupt for never comes: before Linux 7, errors of what is not
    PCI Express.
    """

    def __init__(
        self, device: Device, *, request: Notice | None = None, error: Notice | None = None
    ) -> None:
        """Take over the device's REQ and ERR interrupts, as far as there is a callback.

        request() is called when somebody unbinds or unplugs the device, who waits until it is
        closed; and again every ten seconds, as long as it isn't. error() is called after an
        uncorrectable error (AER): the device does nothing sensible any more before it is reset.
        They must not raise. Raises VfioError.
        """
        self._device = device
        self._lock = threading.Lock()
        self._closed = False
        wanted = {VFIO_PCI_REQ_IRQ_INDEX: request, VFIO_PCI_ERR_IRQ_INDEX: error}
        with contextlib.ExitStack() as undo:
            self._stop = undo.enter_context(EventFd())
            self._watched: dict[int, tuple[EventFd, Notice]] = {}
            for index, callback in wanted.items():
                if callback is None or not device.irq_info(index).count:
                    continue
                eventfd = undo.enter_context(EventFd())
                device.set_triggers(index, 0, [eventfd.fileno()])
                undo.callback(self._disable, index)
                self._watched[eventfd.fileno()] = (eventfd, callback)
            name = f"notices of {device.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                self._thread.start()
            except RuntimeError as e:
                cure = "raise the limit on processes (ulimit -u)"
                raise VfioError(f"watching for {name}: {e}", cure) from None
            self._undo = undo.pop_all()

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._stop.fileno(), *self._watched):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if self._closed:
                    return
                eventfd, callback = self._watched[fd]
                eventfd.read()
                callback()

    def _disable(self, index: int) -> None:
        # A device that is closed, or has gone, gives no notice either.
        with contextlib.suppress(VfioError):
            self._device.disable_irqs(index)

    def close(self) -> None:
        """Call back no more. Idempotent; before or after the device is closed.

        It waits for a callback under way, unless it is called by that.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.signal()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._undo.close()

    def __enter__(self) -> Notices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
