# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Triggers: which eventfds a device signals by MSI or MSI-X, set with the fewest calls.

VFIO enables vectors from 0 on. Kernels with dynamic MSI-X (Linux 6.5) add others at any time. For
others, and for MSI, the first call has the number fixed (VFIO_IRQ_INFO_NORESIZE): to have more, all
go off and on again. And a host may have fewer to give than a device asks for: it can say so when
they are enabled, or only when they are given eventfds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping

from pyvmm.uapi.vfio import VFIO_PCI_MSI_IRQ_INDEX
from pyvmm.vfio import Device, DeviceError, EventFd, TooFewVectors, VfioError
from pyvmm.vfio.irq_set import consecutive


class Triggers:
    """Those of one kind of interrupt of one device. Not locked: its owner is.

    What `given` tells is what the device has, whatever fails: who wants a vector that is not in it
    may ask again.
    """

    def __init__(
        self, device: Device, index: int, pending: Callable[[], Collection[int]] = tuple
    ) -> None:
        """index is VFIO_PCI_MSI_IRQ_INDEX or VFIO_PCI_MSIX_IRQ_INDEX.

        pending() tells of which vectors the device holds interrupts back.
        """
        self._device = device
        self._index = index
        self._pending = pending
        info = device.irq_info(index)
        self._noresize = info.noresize
        self.size = self.limit = info.count
        """limit: vectors from this number on the host can't give, as long as the kind is on."""
        self._range = 0  # vectors [0, range) are enabled; 0: the kind is off
        self._eventfds: dict[int, EventFd] = {}
        self.held: set[int] = set()
        """Vectors without an eventfd, of which the device held back what it may have forgotten."""

    @property
    def on(self) -> bool:
        """The device signals by this kind of interrupt."""
        return self._range > 0

    @property
    def given(self) -> Collection[int]:
        """The vectors that signal their eventfds."""
        return self._eventfds.keys()

    def add(self, new: Mapping[int, EventFd]) -> None:
        """Switch the kind on, and have more vectors signal eventfds, which stay open.

        Raises TooFewVectors if the host can't give them all: those below `limit` have theirs
        then, and none that is above is asked for again. That may be fewer than there were. After
        another VfioError, too, `given` tells which have.
        """
        needed = max((*self._eventfds, *new), default=0) + 1
        try:
            if not self.on:
                self._enable(new, needed)
            elif self._noresize and needed > self._range:
                self._grow(new, needed)
            else:
                self._set(new)
        finally:
            for vector in self.held & self._eventfds.keys():
                self.held.remove(vector)
                self._eventfds[vector].signal()

    def clear(self) -> None:
        """Switch the kind off, and forget the eventfds. Raises VfioError."""
        self._eventfds.clear()
        self.held.clear()
        self.limit = self.size
        if self.on:
            self._disable()

    def _disable(self) -> None:
        self._device.disable_irqs(self._index)
        self._range = 0
        self._eventfds.clear()

    def _enable(
        self, new: Mapping[int, EventFd], count: int, old: Mapping[int, EventFd] | None = None
    ) -> None:
        """Enable [0, count) with one call, the kind being off; fewer, if there are no more.

        If there are not enough eventfds' worth, old ones come first.
        """
        old = old or {}
        wanted = {**old, **new}
        try:
            self._tell(0, [wanted.get(vector) for vector in range(count)])
        except TooFewVectors as error:
            self._cut(error.available)
            self._enable(self._below_limit(new), self.limit, self._below_limit(old))
            if any(vector >= self.limit for vector in wanted):
                raise
        except DeviceError as error:
            if error.errno != errno.ENOSPC:
                raise
            # There are so many, but not so many with an eventfd.
            self._tell(0, [None] * count)
            self._range = count
            self._set(old)
            self._set(new)
        else:
            self._range = count
            self._eventfds |= wanted

    def _below_limit(self, vectors: Mapping[int, EventFd]) -> dict[int, EventFd]:
        return {vector: vectors[vector] for vector in vectors if vector < self.limit}

    def _grow(self, new: Mapping[int, EventFd], needed: int) -> None:
        """Have [0, needed) enabled at least, where all must go off before more can come on."""
        before, old = self._range, self._eventfds.copy()
        # It may forget this with MSI-X off.
        self.held.update(vector for vector in self._pending() if vector not in old)
        self._disable()
        try:
            # Doubling makes this rare.
            self._enable(new, max(needed, min(2 * before, self.limit)), old)
        except VfioError:
            if not self.on:
                self._enable({}, before, old)
            raise
        finally:
            # What the device has signalled meanwhile is lost. Drivers look for what there is to
            # do when an interrupt comes, and if there is nothing, no harm is done; but some wait
            # for ever for one that never comes.
            for eventfd in old.values():
                eventfd.signal()

    def _set(self, vectors: Mapping[int, EventFd]) -> None:
        """Give eventfds to these alone: setting one again would interrupt its service."""
        for run in consecutive(vectors):
            self._set_run(vectors, run)

    def _set_run(self, vectors: Mapping[int, EventFd], run: range) -> None:
        try:
            self._tell(run.start, [vectors[vector] for vector in run])
        except DeviceError as error:
            if error.errno != errno.ENOSPC:
                raise
            if len(run) == 1:
                self.limit = run.start
                asked = f"{self._device.name}: giving interrupt vector {run.start} an eventfd"
                raise TooFewVectors(asked, run.start) from None
            half = len(run) // 2
            self._set_run(vectors, run[:half])
            self._set_run(vectors, run[half:])
        else:
            self._range = max(self._range, run.stop)
            self._eventfds |= {vector: vectors[vector] for vector in run}

    def _tell(self, start: int, eventfds: Iterable[EventFd | None]) -> None:
        fds = [-1 if eventfd is None else eventfd.fileno() for eventfd in eventfds]
        self._device.set_triggers(self._index, start, fds)

    def _cut(self, available: int) -> None:
        if self._index == VFIO_PCI_MSI_IRQ_INDEX:
            available = 1 << available.bit_length() - 1  # as MSI counts them
        self.limit = min(available, self.size)
