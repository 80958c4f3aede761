# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Intx: the interrupt pin of a function, as a level on a pin of the IOAPIC.

VFIO masks INTx when the device asserts it and signals an eventfd; KVM's irqfd asserts the GSI.
On the guest's EOI KVM deasserts it and signals the resample eventfd, which is the device's
UNMASK eventfd: if the device still asserts, all begins again. None of it passes through us,
unless the device takes no such eventfd, or has its line unmasked by whoever listens: then a thread
of ours passes the message on.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_INTX_IRQ_INDEX,
)
from pyvmm.vfio import Device, DeviceError, EventFd, Fds, VfioError

from .interfaces import InterruptVm

_INTX = VFIO_PCI_INTX_IRQ_INDEX


class Intx:
    """One function's INTx. Not locked: its owner is. reconcile() raises VfioError and KvmError.

    Guest state is `disabled`, the Interrupt Disable bit; host state is _host.
    """

    def __init__(
        self, device: Device, vm: InterruptVm, failed: Callable[[Exception], None]
    ) -> None:
        """failed(error) is told, on a thread of its own, why the device can't be unmasked."""
        self._device = device
        self._vm = vm
        self._failed = failed
        self._automasked = device.irq_info(_INTX).automasked
        self._host: _Host | None = None
        self._left_on = False  # the device has refused to switch it off
        self.gsi = 0
        """Where the pin is connected; 0 while the function has none, or is not on a bus."""
        self.disabled = False

    @property
    def used(self) -> bool:
        """The device's line is connected, and the guest lets it through."""
        return self._host is not None and not self.disabled

    def reconcile(self, on: bool) -> None:
        """Bring the host in line; on says that INTx is the kind of interrupt in use."""
        on = on and bool(self.gsi)
        if self._host is not None and not on:
            host, self._host = self._host, None
            try:
                host.close()
            finally:
                self._left_on = host.on
        elif self._host is not None:
            self._host.connect(not self.disabled)
        elif on and not self.disabled:
            self._host = _Host(self._device, self._vm, self.gsi, self._automasked, self._failed)
            self._left_on = False
        elif self._left_on and not on:
            # As long as it is on, VFIO's devices refuse the other kinds.
            self._device.disable_irqs(_INTX)
            self._left_on = False


class _Host:
    """What the device and KVM have been told.

    While the guest has INTx disabled they are but disconnected: VFIO's devices heed the bit by
    themselves. Switched off and on again, a host's own interrupt may be lost: a level that rose
    meanwhile is no edge any more for an interrupt controller that has already seen it.
    """

    def __init__(
        self,
        device: Device,
        vm: InterruptVm,
        gsi: int,
        automasked: bool,
        failed: Callable[[Exception], None],
    ) -> None:
        self._device = device
        self._vm = vm
        self._gsi = gsi
        self._automasked = automasked
        self._connected = False
        self.on = False
        """The device has it switched on."""
        with ExitStack() as undo:
            self._trigger = undo.enter_context(EventFd())
            self._resample = undo.enter_context(EventFd())
            undo.callback(self._disconnect)
            self._connect()
            device.set_triggers(_INTX, 0, [self._trigger.fileno()])
            self.on = True
            undo.callback(self._switch_off)
            if automasked:
                # The device can have signalled by now, and the guest's EOI come: then resample
                # is already signalled, and both ways of unmasking start by looking at it.
                try:
                    fds = Fds((self._resample.fileno(),))
                    device.set_irqs(_INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, fds)
                except DeviceError:
                    undo.callback(_Unmasker(device, self._resample, failed).close)
            else:
                undo.callback(_Unmasker(device, self._resample, None).close)
            self._undo = undo.pop_all()

    def connect(self, wanted: bool) -> None:
        """Let the device's line reach the guest's, or not."""
        if wanted == self._connected:
            return
        if not wanted:
            self._disconnect()
            self._act(VFIO_IRQ_SET_ACTION_MASK)
        else:
            # It may have masked itself, with an interrupt that the guest never got to see the end
            # of. What comes of this waits in the eventfd, and is one interrupt, until it's heard.
            self._act(VFIO_IRQ_SET_ACTION_UNMASK)
            self._connect()

    def _act(self, action: int) -> None:
        """Mask or unmask, for devices that do so on demand; nothing is lost with the others."""
        if self._automasked:
            with suppress(DeviceError):
                self._device.set_irqs(_INTX, action, 0, 1, None)

    def _connect(self) -> None:
        self._vm.irqfd(self._trigger.fileno(), self._gsi, self._resample.fileno())
        self._connected = True

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._vm.remove_irqfd(self._trigger.fileno(), self._gsi)

    def _switch_off(self) -> None:
        self._device.disable_irqs(_INTX)
        self.on = False

    def close(self) -> None:
        self._undo.close()


class _Unmasker:
    """Unmasks INTx by message whenever the guest has sent its EOI.

    It owns a thread: the device may take its time to answer, and nobody else is to wait for it.
    The thread is stopped by an eventfd of its own. The device has been sent resample, has refused
    it, but may read it all the same, and keep to itself what it was signalled for.
    """

    def __init__(
        self, device: Device, resample: EventFd, failed: Callable[[Exception], None] | None
    ) -> None:
        """resample stays open until close(). Raises VfioError.

        Without failed it is no failure that the device refuses, and it is not asked again. So it is
        for those that don't say that they mask themselves: libvfio-user's servers never do, and
        may wait for the message all the same before they raise the line again.
        """
        self._device = device
        self._resample = resample
        self._failed = failed
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"{device.name} INTx", daemon=True)
        self._stop = EventFd()
        try:
            self._thread.start()
        except RuntimeError as e:
            self._stop.close()
            cure = "raise the limit on processes (ulimit -u)"
            raise VfioError(f"unmasking INTx of {device.name}: {e}", cure) from None

    def _run(self) -> None:
        stop = self._stop.fileno()
        poll = select.poll()
        poll.register(stop, select.POLLIN)
        poll.register(self._resample, select.POLLIN)
        while not self._closed and (stop, select.POLLIN) not in poll.poll():
            self._resample.read()
            if not self._unmask() and self._failed is None:
                return

    def _unmask(self) -> bool:
        try:
            self._device.set_irqs(_INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)
        except Exception as error:  # whatever it is: without this thread INTx would stay masked
            if self._failed is not None:
                self._failed(error)
            return False
        return True

    def close(self) -> None:
        """End the thread. It may be on it that the device turns out to be lost."""
        self._closed = True
        self._stop.signal()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._stop.close()
