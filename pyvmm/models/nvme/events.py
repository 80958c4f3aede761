# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Asynchronous events (section 5.2): told by completing requests that the guest has left here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from .spec import LogPage, Rejected, Status

LIMIT = 4  # requests that may be outstanding


class Event(NamedTuple):
    type: int
    information: int
    page: LogPage
    """the log page with more of it; reading it lets the next event of this type come"""


INVALID_DOORBELL_REGISTER = Event(0, 0, LogPage.ERROR)
INVALID_DOORBELL_VALUE = Event(0, 1, LogPage.ERROR)
TEMPERATURE = Event(1, 1, LogPage.SMART)


class Events:
    """Requests and events. Any thread reports; everything else is the engine's."""

    def __init__(self) -> None:
        self._requests: deque[int] = deque()
        self._pending: dict[Event, None] = {}
        self._masked: set[int] = set()

    def request(self, cid: int) -> None:
        """Keep a request. Raises Rejected if there are as many as may be."""
        if len(self._requests) >= LIMIT:
            raise Rejected(Status.ASYNC_EVENT_LIMIT)
        self._requests.append(cid)

    def take_back(self, cid: int) -> bool:
        """Forget a request; False if there is none of this cid."""
        if cid not in self._requests:
            return False
        self._requests.remove(cid)
        return True

    def report(self, event: Event) -> None:
        """An event that waits already is not told twice."""
        self._pending[event] = None

    def page_is_read(self, page: int) -> None:
        self._masked -= {event.type for event in _ALL if event.page == page}

    @property
    def deliverable(self) -> bool:
        return bool(self._requests and self._next())

    def deliver(self) -> Iterator[tuple[int, int]]:
        """The cid and the result of each request that ends now."""
        while self._requests and (event := self._next()):
            del self._pending[event]
            self._masked.add(event.type)
            yield self._requests.popleft(), event.page << 16 | event.information << 8 | event.type

    def _next(self) -> Event | None:
        for event in tuple(self._pending):
            if event.type not in self._masked:
                return event
        return None


_ALL = (INVALID_DOORBELL_REGISTER, INVALID_DOORBELL_VALUE, TEMPERATURE)
