# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of a device, to wait for: by blocking, in asyncio, or in anybody's poll loop."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from ..device import Device, IrqInfo
from ..errors import DeviceError, DeviceGone, InterruptTimeout, VfioError
from ..eventfd import EventFd
from .loss import Loss

_MESSAGES = (VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX)


class Interrupt:
    """One interrupt that is enabled: INTx, or a vector of MSI or MSI-X.

    It counts. Each way to wait tells how many came since the last time, which is at least one,
    and fewer than the device sent if it sent several at once.
    """

    def __init__(
        self, kind: Interrupts, vector: int, eventfd: EventFd, loss: Loss, automasked: bool
    ) -> None:
        self.name = f"{kind.name} vector {vector}" if kind.index in _MESSAGES else kind.name
        self.vector = vector
        self.automasked = automasked
        """It masks itself whenever it comes, as INTx does, and needs unmask() to come again."""
        self._kind = kind
        self._eventfd = eventfd
        self._loss = loss
        self._lock = threading.Lock()
        self._waiting = 0
        self._over = False

    def fileno(self) -> int:
        """The eventfd, for select and the like: readable when `take` has something to tell."""
        return self._eventfd.fileno()

    def take(self) -> int:
        """How many came since the last time, without waiting; 0 if none did.

        Raises DeviceGone, once the device has; VfioError if the interrupt was disabled.
        """
        with self._lock:
            if self._over:
                raise self.disabled()
            count = self._eventfd.read()
        if self._loss.error:
            raise DeviceGone(f"{self.name}: the device has gone: {self._loss.error}")
        return count

    def wait(self, timeout: float | None = None) -> int:
        """Wait until one comes. Raises InterruptTimeout after `timeout` seconds, or as `take`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._held():
            while not (count := self.take()):
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._eventfd.wait(left):
                    raise InterruptTimeout(f"{self.name}: no interrupt within {timeout:g} s")
        return count

    async def wait_async(self) -> int:
        """Wait in asyncio until one comes; asyncio.timeout() limits that. Raises as `take`."""
        import asyncio

        loop = asyncio.get_running_loop()
        with self._held():
            while not (count := self.take()):
                ready = asyncio.Event()
                # A loop watches a descriptor for one task only.
                with EventFd.from_fd(self.fileno()) as eventfd:
                    loop.add_reader(eventfd.fileno(), ready.set)
                    try:
                        await ready.wait()
                    finally:
                        loop.remove_reader(eventfd.fileno())
        return count

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The eventfd stays open meanwhile, whoever disables the interrupt."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                self._close_unused()

    def mask(self) -> None:
        """Hold it back until unmask(). INTx only: DeviceError (ENOTTY) for others."""
        self._kind.act(VFIO_IRQ_SET_ACTION_MASK, self)

    def unmask(self) -> None:
        """Let it through again; INTx so after each one, when the device has been quieted."""
        self._kind.act(VFIO_IRQ_SET_ACTION_UNMASK, self)

    def trigger(self) -> None:
        """Have it signalled as if the device had: a test of the way to here."""
        self._kind.act(VFIO_IRQ_SET_ACTION_TRIGGER, self)

    def disabled(self) -> VfioError:
        """What whoever uses it is told once it was."""
        return VfioError(f"{self.name}: it was disabled", "enable() gives new ones")

    def end(self) -> None:
        """Wake who waits, and let go. For `Interrupts.disable`."""
        self._loss.remove(self._eventfd.signal)
        with self._lock:
            self._over = True
            self._eventfd.signal()
            self._close_unused()

    def _close_unused(self) -> None:
        if self._over and not self._waiting:
            self._eventfd.close()


class Interrupts:
    """The interrupts of one kind that a device has: `enable` gives them, `disable` takes them.

    Safe to call from any thread.
    """

    def __init__(
        self, device: Device, index: int, name: str, loss: Loss, lock: AbstractContextManager[bool]
    ) -> None:
        """`index` is VFIO_PCI_*_IRQ_INDEX, `name` what to call it; kinds that exclude each other
        share a lock, which its holder may take again.
        """
        self.name = f"{device.name}: {name}"
        self.index = index
        self.rivals: tuple[Interrupts, ...] = ()
        """kinds that can't be on at the same time"""
        self._device = device
        self._loss = loss
        self._lock = lock
        self._closed = False
        self._enabled: list[Interrupt] = []

    @property
    def info(self) -> IrqInfo:
        """What VFIO tells of this kind; nothing, with a count of 0, of one it doesn't know."""
        if self.index < self._device.info.num_irqs:
            try:
                return self._device.irq_info(self.index)
            except DeviceError as error:
                if error.errno != errno.EINVAL:
                    raise
        return IrqInfo(self.index, 0, 0)

    @property
    def count(self) -> int:
        """How many there are; 0 if the device has none of this kind."""
        return self.info.count

    @property
    def enabled(self) -> bool:
        return bool(self._enabled)

    def enable(self, count: int = 1) -> list[Interrupt]:
        """Turn on the first `count`, each with a counter of its own.

        INTx, MSI and MSI-X exclude each other. Raises DeviceError: EINVAL if there are not as
        many, EBUSY if this kind or another of the three is on; or what the device says.
        """
        with self._lock:
            if self._closed:
                raise DeviceGone(f"{self.name}: closed")
            self._check(count)
            self._enabled = self._made(count)
            return list(self._enabled)

    def _check(self, count: int) -> None:
        doing = f"{self.name}: enabling {count}"
        info = self.info
        if not 1 <= count <= info.count:
            raise DeviceError.answered(doing, errno.EINVAL, f"there are {info.count}")
        for kind in (self, *self.rivals):
            if kind.enabled:
                raise DeviceError.answered(doing, errno.EBUSY, f"disable() {kind.name} first")

    def _made(self, count: int) -> list[Interrupt]:
        automasked = self.info.automasked
        with ExitStack() as undo:
            interrupts = []
            for vector in range(count):
                eventfd = undo.enter_context(EventFd())
                interrupts.append(Interrupt(self, vector, eventfd, self._loss, automasked))
                self._loss.add(eventfd.signal)
                undo.callback(self._loss.remove, eventfd.signal)
            self._device.set_triggers(self.index, 0, [irq.fileno() for irq in interrupts])
            undo.pop_all()
        return interrupts

    def disable(self) -> None:
        """Turn them off; who waits for one gets a VfioError. Idempotent."""
        with self._lock:
            interrupts, self._enabled = self._enabled, []
            if not interrupts:
                return
            try:
                self._device.disable_irqs(self.index)
            finally:
                for interrupt in interrupts:
                    interrupt.end()

    def close(self) -> None:
        """Turn them off for good. Idempotent."""
        with self._lock:
            self._closed = True
            self.disable()

    def act(self, action: int, interrupt: Interrupt) -> None:
        """Mask, unmask or trigger one that is enabled. Raises DeviceError, and VfioError if it was
        disabled: its vector may be another's now.
        """
        masking = action in (VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK)
        if masking and not self.info.maskable:
            cure = "VFIO masks only INTx; have the device itself not send it"
            raise DeviceError.answered(f"{interrupt.name}: masking it", errno.ENOTTY, cure)
        with self._lock:
            if interrupt not in self._enabled:
                raise interrupt.disabled()
            self._device.set_irqs(self.index, action, interrupt.vector, 1, None)
