# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Watches file descriptors on one thread and calls back when they become readable.

For what has no faster way: INTx of a device that can't take an unmask eventfd, a model's
process that ends. The thread starts with the first descriptor.
"""

from __future__ import annotations

import os
import select
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Watcher:
    """Owns the watching thread. Callbacks run on it, one at a time, and must not block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._thread: threading.Thread | None = None

    def watch(self, fd: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call callback whenever fd is readable. Returns what ends that.

        fd must stay open until the returned function has been called.
        """
        with self._lock:
            if self._epoll is None:
                self._start()
            assert self._epoll is not None
            self._callbacks[fd] = callback
            self._epoll.register(fd, select.EPOLLIN)

        def unwatch() -> None:
            with self._lock:
                if self._callbacks.pop(fd, None) is not None and self._epoll is not None:
                    self._epoll.unregister(fd)

        return unwatch

    def _start(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        assert self._epoll is not None
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._wake:
                    return
                with self._lock:
                    callback = self._callbacks.get(fd)
                if callback is not None:
                    callback()

    def close(self) -> None:
        """End the thread; no callback runs once this has returned. Idempotent."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        os.eventfd_write(self._wake, 1)
        thread.join()
        assert self._epoll is not None
        self._epoll.close()
        os.close(self._wake)
        self._epoll = None
        self._callbacks.clear()
