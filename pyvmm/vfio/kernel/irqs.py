# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of a device: VFIO_DEVICE_SET_IRQS, and more vectors than were enabled at first.

INTx, MSI and MSI-X exclude each other. Where MSI-X is not dynamic, and always for MSI, the kernel
has as many vectors as the first call had (VFIO_IRQ_INFO_NORESIZE); to have more, they are all
disabled and enabled again with the same eventfds. What the device signals meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import threading
from collections.abc import Callable, Sequence

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX,
)
from .. import irq_set
from ..device import Fds, IrqData, IrqInfo
from ..errors import DeviceError, TooFewVectors, VfioError
from ..eventfd import EventFd
from .kernel_file import KernelFile

_NAMES = {
    VFIO_PCI_INTX_IRQ_INDEX: "INTx",
    VFIO_PCI_MSI_IRQ_INDEX: "MSI",
    VFIO_PCI_MSIX_IRQ_INDEX: "MSI-X",
    VFIO_PCI_ERR_IRQ_INDEX: "ERR",
    VFIO_PCI_REQ_IRQ_INDEX: "REQ",
}
_EXCLUSIVE = (VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX)
_MESSAGES = (VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX)
_VERBS = {
    VFIO_IRQ_SET_ACTION_MASK: "masking",
    VFIO_IRQ_SET_ACTION_UNMASK: "unmasking",
    VFIO_IRQ_SET_ACTION_TRIGGER: "triggering",
}


class Interrupts:
    """What is enabled of a device's interrupts. Safe to call from any thread."""

    def __init__(self, file: KernelFile, info: Callable[[int], IrqInfo]) -> None:
        """info tells of a kind of interrupt, and raises DeviceError for an index beyond all."""
        self._file = file
        self._info = info
        self._lock = threading.Lock()
        # By kind, if it is enabled. The triggers are kept only of kinds that can't just grow.
        self._enabled: dict[int, list[EventFd | None]] = {}

    def set(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        """Device.set_irqs().

        If there are to be more vectors than the host has, those that were enabled stay so. If
        setting triggers fails otherwise, which of them are set is not known.
        """
        with self._lock:
            if action == VFIO_IRQ_SET_ACTION_TRIGGER and isinstance(data, Fds):
                self._set_triggers(index, start, count, data)
            elif action == VFIO_IRQ_SET_ACTION_TRIGGER and data is None and count == 0:
                self._disable(index)
            else:
                self._set(index, action, start, count, data)

    def _set_triggers(self, index: int, start: int, count: int, fds: Fds) -> None:
        info = self._info(index)
        self._encoded(index, VFIO_IRQ_SET_ACTION_TRIGGER, start, count, fds)
        if count == 0:
            return
        if not (index in _MESSAGES and info.noresize) or start + count > info.count:
            self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, start, count, fds)
            self._enabled.setdefault(index, [])
            return
        old = self._enabled.get(index)
        with contextlib.ExitStack() as undo:
            ours = [undo.enter_context(self._taken(index, fd)) if fd >= 0 else None for fd in fds]
            table = list(old or ())
            table += [None] * (start - len(table))
            replaced, table[start : start + count] = table[start : start + count], ours
            if old and len(table) > len(old):
                self._grow(index, old, table)
            else:
                self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, start, count, fds)
            undo.pop_all()
        self._enabled[index] = table
        _close(replaced)

    def _taken(self, index: int, fd: int) -> EventFd:
        try:
            return EventFd.from_fd(fd)
        except DeviceError as e:
            what = f"{self._file.name}: setting the triggers of {_name(index)}: {e}"
            raise DeviceError(what, e.errno) from None

    def _grow(
        self, index: int, old: Sequence[EventFd | None], new: Sequence[EventFd | None]
    ) -> None:
        self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, None)
        try:
            self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, len(new), _fds(new))
        except BaseException:
            try:
                self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, len(old), _fds(old))
            except BaseException:
                _close(self._enabled.pop(index))
                raise
            raise

    def _disable(self, index: int) -> None:
        self._info(index)
        enabled = self._enabled.pop(index, None)
        try:
            self._set(index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, None)
        except DeviceError as e:
            # The kernel refuses to disable what isn't enabled.
            if enabled is not None or e.errno != errno.EINVAL:
                raise
        finally:
            _close(enabled or ())

    def _set(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        doing, request = self._encoded(index, action, start, count, data)
        buffer = ctypes.create_string_buffer(request, len(request))

        def cure(number: int) -> str | None:
            return self._cure(number, index, action, start + count, data)

        available = self._file.ioctl("VFIO_DEVICE_SET_IRQS", buffer, doing=doing, cures=cure)
        if available:
            # Nothing was enabled, and this is how many there would have been.
            raise TooFewVectors(f"{self._file.name}: {doing}: VFIO_DEVICE_SET_IRQS", available)

    def _encoded(
        self, index: int, action: int, start: int, count: int, data: IrqData
    ) -> tuple[str, bytes]:
        """What is done, in words and as the kernel is told."""
        verb = _VERBS.get(action, "setting")
        if action == VFIO_IRQ_SET_ACTION_TRIGGER and isinstance(data, Fds):
            verb = "setting the triggers of"
        elif action == VFIO_IRQ_SET_ACTION_TRIGGER and data is None and count == 0:
            verb = "disabling"
        doing = f"{verb} {_name(index)}" + (f" {start} to {start + count - 1}" if count > 0 else "")
        try:
            return doing, irq_set.pack(index, action, start, count, data)
        except ValueError as e:
            what = f"{self._file.name}: {doing}: {e}"
            raise DeviceError.answered(what, errno.EINVAL) from None

    def _cure(self, number: int, index: int, action: int, end: int, data: IrqData) -> str | None:
        others = [kind for kind in self._enabled if kind in _EXCLUSIVE and kind != index]
        count = self._info(index).count
        if number == errno.ENOTTY and action != VFIO_IRQ_SET_ACTION_TRIGGER:
            if index == VFIO_PCI_INTX_IRQ_INDEX:
                return "the kernel doesn't mask INTx by eventfd: mask it by call"
            return "the kernel masks INTx only: take the vector's eventfd away (-1) instead"
        if number == errno.EINVAL:
            if end > count:
                return f"the device has {count}"
            if others and index in _EXCLUSIVE:
                other = _NAMES[others[0]]
                return f"{other} is enabled, and excludes it: disable {other} first"
            if index not in self._enabled and not isinstance(data, Fds):
                return "it is not enabled: set its triggers first"
        if number in (errno.EINVAL, errno.EBADF) and isinstance(data, Fds):
            return _no_eventfd(data)
        if number == errno.ENODEV and index == VFIO_PCI_INTX_IRQ_INDEX:
            return "the function's interrupt line leads nowhere on this host: use MSI or MSI-X"
        return {
            errno.EBUSY: "an eventfd does it already, which must be taken away first (-1)"
            if action != VFIO_IRQ_SET_ACTION_TRIGGER
            else "the host's interrupt line is shared, and the device can't mask itself on it: use "
            "MSI or MSI-X, or take the other users of the line (/proc/interrupts) off it",
        }.get(number)

    def close(self) -> None:
        """Disable what is enabled. Idempotent; for a device that may be gone, too.

        In a process forked meanwhile, what is enabled is not its own, and stays so.
        """
        with self._lock:
            for index in list(self._enabled):
                if self._file.inherited:
                    _close(self._enabled.pop(index))
                    continue
                with contextlib.suppress(VfioError):
                    self._disable(index)


def _name(index: int) -> str:
    return _NAMES.get(index, f"interrupt kind {index}")


def _no_eventfd(fds: Fds) -> str | None:
    """What is wrong with the first that can't be used."""
    for fd in fds:
        try:
            if fd >= 0:
                EventFd.from_fd(fd).close()
        except DeviceError as e:
            return str(e)
    return None


def _fds(table: Sequence[EventFd | None]) -> Fds:
    return Fds(trigger.fileno() if trigger else -1 for trigger in table)


def _close(triggers: Sequence[EventFd | None]) -> None:
    for trigger in triggers:
        if trigger:
            trigger.close()
