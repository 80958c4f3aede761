# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""LonePage: the page of a BAR smaller than that, mapped as long as nothing else is in it.

A guest may put several such BARs into one page, of different devices perhaps. Only pages can be
mapped, and whoever reached the others through this one's mapping would reach nothing. So the
mapping goes when a neighbour comes. It doesn't come back by itself: that takes another move.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pyvmm.kvm import KvmError
from pyvmm.memory import GuestMemory, GuestMemoryError, MemoryRegion


class LonePage:
    """One place of one BAR. Safe from any thread: neighbours' owners know no lock of ours."""

    def __init__(
        self,
        memory: GuestMemory,
        region: MemoryRegion,
        failed: Callable[[str, Exception], None],
    ) -> None:
        """region is the page; failed(kind, error) is told what could not be done."""
        self._memory = memory
        self._region = region
        self._failed = failed
        self._lock = threading.Lock()
        self._crowded = False
        self._shown = False

    def show(self) -> None:
        """Have the guest reach the page, unless somebody has come to it meanwhile."""
        with self._lock:
            if self._crowded:
                return
            try:
                self._memory.add_region(self._region)
                self._shown = True
            except (GuestMemoryError, KvmError) as error:
                self._failed("BAR areas not mapped", error)

    def crowd(self) -> None:
        """Somebody else comes to the page: what is ours in it exits from now on."""
        with self._lock:
            self._crowded = True
        self.hide()

    def hide(self) -> None:
        """The end of it. Idempotent."""
        with self._lock:
            if self._shown:
                self._shown = False
                try:
                    self._memory.remove_region(self._region)
                except (GuestMemoryError, KvmError) as error:
                    self._failed("BARs not taken back", error)
