# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Decoding: mapped BARs are left alone while the device doesn't answer at them.

A load or store of a BAR whose memory space is disabled, or whose device is in D3, is a SIGBUS, by
which the interpreter dies; the same access by a call is an error. So around all that may change
it, and as long as it is off, mapped BARs go by calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from weakref import WeakSet

from ..errors import DeviceGone, VfioError
from .bars import MappedBar
from .config import Config
from .conventional import PowerManagement

_D3HOT = 3


class Decoding:
    """The mapped BARs of one device, and whether they may be touched. Safe in any thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._mapped: WeakSet[MappedBar] = WeakSet()
        self._closed = False

    def add(self, mapped: MappedBar) -> None:
        """Look after this one, too, until it is closed. Raises DeviceGone after close()."""
        with self._lock:
            if self._closed:
                mapped.close()
                raise DeviceGone(f"{mapped.name}: the device was closed")
            self._mapped.add(mapped)
            if not self._on():
                mapped.suspend()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Meanwhile it may be switched on or off."""
        with self._lock:
            mapped = list(self._mapped)
            for bar in mapped:
                bar.suspend()
            try:
                yield
            finally:
                if mapped and self._on():
                    for bar in mapped:
                        bar.resume()

    def close(self) -> None:
        """Close the mapped BARs, and let there be no more."""
        with self._lock:
            self._closed = True
            for mapped in list(self._mapped):
                mapped.close()

    def _on(self) -> bool:
        try:
            asleep = self._power is not None and self._power.state == _D3HOT
            return self._config.memory_enable and not asleep
        except VfioError:
            return False  # a call will tell why

    @cached_property
    def _power(self) -> PowerManagement | None:
        return self._config.find(PowerManagement)
