# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbells: those of a model that may be rung by eventfd, and their eventfds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from pyvmm.vfio import EventFd, IoEventFd

from .activity import Activity
from .regions import Bar
from .registers import Doorbell

if TYPE_CHECKING:
    from .model_device import ModelDevice


class Doorbells:
    """Owns the eventfds, which are made when somebody asks for a BAR's. Callers hold the model's
    lock.
    """

    def __init__(self, model: ModelDevice, activity: Activity) -> None:
        self._model = model
        self._activity = activity
        self._more: list[tuple[int, Doorbell]] = []
        self._made: dict[int, tuple[IoEventFd, ...]] = {}
        self._eventfds: list[EventFd] = []

    def offer(self, index: int, doorbells: Iterable[Doorbell]) -> None:
        """Offer more than the BAR of this index declares."""
        self._more += [(index, doorbell) for doorbell in doorbells]

    def of(self, bar: Bar) -> tuple[IoEventFd, ...]:
        """A BAR's, the same ones until they are revoked. Raises VfioError."""
        if bar.index not in self._made:
            more = [doorbell for at, doorbell in self._more if at == bar.index]
            self._made[bar.index] = tuple(self._make(one) for one in (*bar.doorbells, *more))
        return self._made[bar.index]

    def _make(self, doorbell: Doorbell) -> IoEventFd:
        eventfd = EventFd()
        self._eventfds.append(eventfd)
        ring = partial(doorbell.ring, self._model)

        def rung() -> None:
            with self._model.lock:
                # It may have been closed, or read by another thread, while this was on its way.
                times = eventfd.read() if eventfd.fileno() >= 0 else 0
                if times:
                    self._activity.happen_times(ring, times)

        self._activity.events.watch(eventfd, rung)
        return IoEventFd(doorbell.offset, doorbell.size, eventfd.fileno())

    def revoke(self) -> None:
        """Stop listening to the eventfds, of which others may have copies for good, and close ours.

        Nothing that was signalled is acted on after this.
        """
        eventfds, self._eventfds = self._eventfds, []
        self._made.clear()
        for eventfd in eventfds:
            self._activity.events.unwatch(eventfd)
            eventfd.close()
