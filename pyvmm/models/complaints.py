# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Complaints: what goes wrong with a model is counted, and the first of each kind is logged."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress


class Complaints:
    """Those about one model, whose lock they share."""

    def __init__(self, name: str, lock: threading.RLock) -> None:
        self._name = name
        self._lock = lock
        self.counters: Counter[str] = Counter()

    def warn(self, what: str) -> None:
        """A driver did what it shouldn't."""
        if self._first(what):
            _log(f"{self._name}: {what}")

    def bug(self, error: Exception) -> None:
        """What a model's method raises is the model's bug, and ends neither VM nor thread."""
        kind = f"{type(error).__name__} in the model"
        if self._first(kind):
            _log(f"{self._name}: {kind}", error)

    def _first(self, what: str) -> bool:
        with self._lock:
            self.counters[what] += 1
            return self.counters[what] == 1


def _log(what: str, error: Exception | None = None) -> None:
    """Log a warning, or an error with its traceback."""
    # Late, since most machines never log a word; and then it may be that no file can be opened.
    with suppress(OSError, ImportError):
        import logging

        log = logging.getLogger("pyvmm.models")
        if error:
            log.error("%s", what, exc_info=error)
        else:
            log.warning("%s", what)
