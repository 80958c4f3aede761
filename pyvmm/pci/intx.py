# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Intx: the interrupt pin of a function, as a level on a pin of the IOAPIC.

VFIO masks INTx when the device asserts it and signals an eventfd; KVM's irqfd asserts the GSI.
On the guest's EOI KVM deasserts it and signals the resample eventfd, which is the device's
UNMASK eventfd: if the device still asserts, all begins again. None of it passes through us,
unless the device takes no such eventfd: then a thread of ours passes the message on.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from contextlib import ExitStack

from pyvmm.uapi.vfio import VFIO_IRQ_SET_ACTION_UNMASK, VFIO_PCI_INTX_IRQ_INDEX
from pyvmm.vfio import Device, DeviceError, EventFd, Fds

from .interfaces import InterruptVm

_INTX = VFIO_PCI_INTX_IRQ_INDEX


class Intx:
    """One function's INTx. Not locked: its owner is. reconcile() raises VfioError and KvmError.

    Guest state is `disabled`, the Interrupt Disable bit; host state is what _host will undo.
    """

    def __init__(
        self, device: Device, vm: InterruptVm, failed: Callable[[Exception], None]
    ) -> None:
        """failed(error) is told, on a thread of its own, why the device can't be unmasked."""
        self._device = device
        self._vm = vm
        self._failed = failed
        self._automasked = device.irq_info(_INTX).automasked
        self._host: ExitStack | None = None
        self.gsi = 0
        """Where the pin is connected; 0 while the function has none, or is not on a bus."""
        self.disabled = False

    def reconcile(self, on: bool) -> None:
        """Bring the host in line; on says that INTx is the kind of interrupt in use."""
        wanted = on and bool(self.gsi) and not self.disabled
        if wanted == (self._host is not None):
            return
        if wanted:
            self._host = self._enable()
        else:
            host, self._host = self._host, None
            if host is not None:
                host.close()

    def _enable(self) -> ExitStack:
        vm, device, gsi = self._vm, self._device, self.gsi
        with ExitStack() as undo:
            trigger = undo.enter_context(EventFd())
            resample = undo.enter_context(EventFd())
            vm.irqfd(trigger.fileno(), gsi, resample.fileno())
            undo.callback(vm.remove_irqfd, trigger.fileno(), gsi)
            device.set_triggers(_INTX, 0, [trigger.fileno()])
            undo.callback(device.disable_irqs, _INTX)
            if self._automasked:
                # The device can have signalled by now, and the guest's EOI come: then resample
                # is already signalled, and both ways of unmasking start by looking at it.
                try:
                    fds = Fds((resample.fileno(),))
                    device.set_irqs(_INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, fds)
                except DeviceError:
                    undo.callback(_Unmasker(device, resample, self._failed).close)
            return undo.pop_all()


class _Unmasker:
    """Unmasks INTx by message whenever the guest has sent its EOI.

    It owns a thread: the device may take its time to answer, and nobody else is to wait for it.
    The thread is stopped by an eventfd of its own. The device has been sent resample, has refused
    it, but may read it all the same, and keep to itself what it was signalled for.
    """

    def __init__(
        self, device: Device, resample: EventFd, failed: Callable[[Exception], None]
    ) -> None:
        """resample stays open until close(). Raises VfioError."""
        self._device = device
        self._resample = resample
        self._failed = failed
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"{device.name} INTx", daemon=True)
        self._stop = EventFd()
        try:
            self._thread.start()
        except BaseException:
            self._stop.close()
            raise

    def _run(self) -> None:
        stop = self._stop.fileno()
        poll = select.poll()
        poll.register(stop, select.POLLIN)
        poll.register(self._resample, select.POLLIN)
        while not self._closed and (stop, select.POLLIN) not in poll.poll():
            self._resample.read()
            self._unmask()

    def _unmask(self) -> None:
        try:
            self._device.set_irqs(_INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)
        except Exception as error:  # whatever it is: without this thread INTx would stay masked
            self._failed(error)

    def close(self) -> None:
        """End the thread. It may be on it that the device turns out to be lost."""
        self._closed = True
        self._stop.signal()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._stop.close()
