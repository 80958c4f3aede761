# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of a model, with the semantics that the kernel's vfio-pci gives a device's.

One kind (INTx, MSI or MSI-X) is on at a time: the one that eventfds have been set for. Callers
hold the model's lock. See VFIO_DEVICE_SET_IRQS in <linux/vfio.h>.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from pyvmm.uapi.vfio import (
    VFIO_IRQ_INFO_AUTOMASKED,
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
)
from pyvmm.vfio import DeviceError, EventFd, Fds, IrqData, IrqInfo

from .worker import EventLoop

_KINDS = {
    VFIO_PCI_INTX_IRQ_INDEX: "INTx",
    VFIO_PCI_MSI_IRQ_INDEX: "MSI",
    VFIO_PCI_MSIX_IRQ_INDEX: "MSI-X",
}


class Intx:
    """A level-triggered line, automasked: it signals once, and is masked until unmasked.

    If the line is still up when it is unmasked, it signals again.
    """

    def __init__(self) -> None:
        self.level = False
        self.disabled = False
        """by the interrupt disable bit of the command register"""
        self.masked = False
        self.held = False
        """by the device being stopped"""
        self._trigger: EventFd | None = None

    def set_trigger(self, trigger: EventFd | None) -> None:
        if self._trigger:
            self._trigger.close()
        self._trigger = trigger
        self.update()

    def turn_off(self) -> None:
        if self._trigger:
            self._trigger.close()
        self._trigger = None
        self.masked = False

    def set_level(self, level: bool) -> None:
        self.level = level
        self.update()

    def set_disabled(self, disabled: bool) -> None:
        self.disabled = disabled
        self.update()

    def mask(self) -> None:
        self.masked = True

    def unmask(self) -> None:
        self.masked = False
        self.update()

    def update(self) -> None:
        # Without an eventfd nobody would be told, nor unmask what this masks.
        if self._trigger and self.level and not (self.disabled or self.masked or self.held):
            self.masked = True
            self.signal()

    def signal(self) -> None:
        if self._trigger:
            self._trigger.signal()


class Messages:
    """The vectors of MSI or MSI-X. One that has no eventfd while its kind is on is pending, as
    with a masked vector in hardware, and signals when it gets one.
    """

    def __init__(self, vectors: int) -> None:
        self.pending: set[int] = set()
        self.held = False
        """by the device being stopped: what it would signal is pending"""
        self._triggers: list[EventFd | None] = [None] * vectors

    def set_triggers(self, start: int, triggers: list[EventFd | None]) -> None:
        for vector, trigger in enumerate(triggers, start):
            old, self._triggers[vector] = self._triggers[vector], trigger
            if old:
                old.close()
        self.deliver()

    def deliver(self) -> None:
        """Signal what is pending and can be signalled."""
        if not self.held:
            for vector in sorted(self.pending):
                trigger = self._triggers[vector]
                if trigger:
                    self.pending.remove(vector)
                    trigger.signal()

    def turn_off(self) -> None:
        self.set_triggers(0, [None] * len(self._triggers))
        self.pending.clear()

    def signal(self, vector: int) -> bool:
        """False if there is no such vector."""
        if not 0 <= vector < len(self._triggers):
            return False
        trigger = self._triggers[vector]
        if trigger and not self.held:
            trigger.signal()
        else:
            self.pending.add(vector)
        return True

    def loop_back(self, vector: int) -> None:
        trigger = self._triggers[vector]
        if trigger:
            trigger.signal()


class Interrupts:
    """All interrupts of a model: owns the eventfds that the user of the device has set."""

    def __init__(
        self,
        name: str,
        lock: threading.RLock,
        events: EventLoop,
        *,
        intx: bool,
        msi: int,
        msix: int,
    ) -> None:
        self._name = name
        self._lock = lock
        self._events = events
        self._counts = (int(intx), msi, msix)
        self._unmask: EventFd | None = None
        self.vectors = max(msi, msix)
        self.mode: int | None = None
        """the index of the kind that is on"""
        self.intx = Intx()
        self.messages = {
            VFIO_PCI_MSI_IRQ_INDEX: Messages(msi),
            VFIO_PCI_MSIX_IRQ_INDEX: Messages(msix),
        }

    def info(self, index: int) -> IrqInfo:
        """What there is of one kind. Raises DeviceError (EINVAL)."""
        if not 0 <= index < VFIO_PCI_NUM_IRQS:
            raise self._refused(f"asking about interrupts of index {index}", "there are none")
        # A model never asks to be released and reports no errors: of those kinds it has none.
        count = self._counts[index] if index < len(self._counts) else 0
        flags = VFIO_IRQ_INFO_EVENTFD if count else 0
        if count and index == VFIO_PCI_INTX_IRQ_INDEX:
            flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
        return IrqInfo(index, flags, count)

    def set(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        """Device.set_irqs(). Raises DeviceError, with the errno that the kernel gives."""
        what = f"setting interrupts {start}+{count} of index {index}"
        total = self.info(index).count
        if not 0 <= start < total or not 0 <= count <= total - start:
            raise self._refused(what, f"there are {total}")
        if data is not None and len(data) != count:
            raise self._refused(what, f"with {len(data)} values")
        if action == VFIO_IRQ_SET_ACTION_TRIGGER:
            if isinstance(data, Fds):
                self._set_triggers(what, index, start, data)
            elif count or data is not None:
                self._loop_back(what, index, start, [True] * count if data is None else data)
            else:
                self._turn_off(index)
        elif action in (VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK):
            self._set_mask(what, index, action, count, data)
        else:
            raise self._refused(what, f"{action:#x} is no action")

    def signal(self, vector: int) -> bool:
        """Signal a vector of MSI-X or MSI, whichever is on; False if there is no such thing."""
        return self.mode in self.messages and self.messages[self.mode].signal(vector)

    def hold(self, held: bool) -> None:
        """While they are held nothing is signalled, but stays pending."""
        self.intx.held = held
        self.intx.update()
        for messages in self.messages.values():
            messages.held = held
            messages.deliver()

    def close(self) -> None:
        """Let all eventfds go. Idempotent."""
        self.turn_off_intx()
        for messages in self.messages.values():
            messages.turn_off()
        self.mode = None

    def turn_off_intx(self) -> None:
        self._set_unmask(None)
        self.intx.turn_off()

    def _turn_off(self, index: int) -> None:
        if index != self.mode:
            return
        if index == VFIO_PCI_INTX_IRQ_INDEX:
            self.turn_off_intx()
        else:
            self.messages[index].turn_off()
        self.mode = None

    def _set_triggers(self, what: str, index: int, start: int, fds: Fds) -> None:
        if not fds:
            raise self._refused(what, "with no eventfd")
        if self.mode not in (None, index):
            raise self._refused(what, f"{_KINDS[self.mode]} is on: disable it first")
        triggers = self._adopt(fds)
        self.mode = index
        if index == VFIO_PCI_INTX_IRQ_INDEX:
            self.intx.set_trigger(triggers[0])
        else:
            self.messages[index].set_triggers(start, triggers)

    def _adopt(self, fds: Fds) -> list[EventFd | None]:
        """References of our own to all of them, or to none if one is bad."""
        with ExitStack() as opened:
            triggers = [
                opened.enter_context(EventFd.from_fd(fd)) if fd >= 0 else None for fd in fds
            ]
            opened.pop_all()
        return triggers

    def _loop_back(self, what: str, index: int, start: int, which: Sequence[bool]) -> None:
        """Signal eventfds as if the device had: how a user tests the path of its interrupts."""
        if index != self.mode:
            raise self._refused(what, f"{_KINDS[index]} is off: set eventfds first")
        for vector, chosen in enumerate(which, start):
            if not chosen:
                continue
            if index == VFIO_PCI_INTX_IRQ_INDEX:
                self.intx.signal()
            else:
                self.messages[index].loop_back(vector)

    def _set_mask(self, what: str, index: int, action: int, count: int, data: IrqData) -> None:
        if index != VFIO_PCI_INTX_IRQ_INDEX:
            # As vfio-pci: vectors are masked in MSI-X's table and MSI's mask bits.
            raise self._refused(what, f"{_KINDS[index]} is not maskable", errno.ENOTTY)
        if self.mode != index or count != 1:
            raise self._refused(what, "INTx is off: set an eventfd first")
        if isinstance(data, Fds):
            if action == VFIO_IRQ_SET_ACTION_MASK:
                raise self._refused(what, "masking by eventfd", errno.ENOTTY)
            # One that is set already is replaced. vfio-pci refuses that (EBUSY) until the old one
            # is closed; here our own reference keeps it open, so that can't be seen.
            self._set_unmask(self._adopt(data)[0])
        elif data is None or data[0]:
            if action == VFIO_IRQ_SET_ACTION_MASK:
                self.intx.mask()
            else:
                self.intx.unmask()

    def _set_unmask(self, eventfd: EventFd | None) -> None:
        if self._unmask:
            self._events.unwatch(self._unmask)
            self._unmask.close()
        self._unmask = eventfd
        if eventfd:
            self._events.watch(eventfd, self._unmasked)

    def _unmasked(self) -> None:
        with self._lock:
            # It may have been taken away, or read, while this call was on its way.
            if self._unmask and self._unmask.read():
                self.intx.unmask()

    def _refused(self, what: str, why: str, number: int = errno.EINVAL) -> DeviceError:
        return DeviceError.answered(f"{self._name}: {what}", number, why)
