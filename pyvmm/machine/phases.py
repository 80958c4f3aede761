# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where start-up time goes: named phases, timed one after the other."""

from __future__ import annotations

from time import perf_counter


class Phases:
    """A stopwatch with laps. seconds is a list of (name, seconds), in order.

    It runs from when it is made; earlier has the phases that were over by then.
    """

    __slots__ = ("_last", "seconds")

    def __init__(self, *earlier: tuple[str, float]) -> None:
        self.seconds = list(earlier)
        self._last = perf_counter()

    def done(self, name: str) -> None:
        """The phase called name ends now, the next one begins."""
        now = perf_counter()
        self.seconds.append((name, now - self._last))
        self._last = now

    @property
    def total(self) -> float:
        """Seconds of all phases so far."""
        return sum(seconds for _, seconds in self.seconds)
