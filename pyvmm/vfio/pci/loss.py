# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Loss: that a device has gone, for all who would wait for it in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import VfioError


class Loss:
    """Remembers why the device has gone, and wakes whoever waits for it. Safe in any thread."""

    def __init__(self) -> None:
        self.error: VfioError | None = None
        self._lock = threading.Lock()
        self._waking: list[Callable[[], None]] = []

    def happened(self, error: VfioError) -> None:
        """The device has gone, because of this error."""
        with self._lock:
            self.error = error
            for wake in self._waking:
                wake()

    def add(self, wake: Callable[[], None]) -> None:
        """Have wake() called when it happens."""
        with self._lock:
            self._waking.append(wake)

    def remove(self, wake: Callable[[], None]) -> None:
        """When this returns, wake() is not called any more. Idempotent."""
        with self._lock:
            if wake in self._waking:
                self._waking.remove(wake)
