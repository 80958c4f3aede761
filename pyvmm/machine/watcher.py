# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Watches file descriptors on one thread and calls back when they become readable.

For what has no faster way: INTx of a device that can't take an unmask eventfd, a model's
process that ends. The thread starts with the first descriptor.
"""

from __future__ import annotations

import select
import threading

from pyvmm.uapi.ioctl import failure
from pyvmm.vfio import EventFd, VfioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Watcher:
    """Owns the watching thread. Callbacks run on it, one at a time, and must not block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None
        self._wake: EventFd | None = None
        self._thread: threading.Thread | None = None

    def watch(self, fd: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call callback whenever fd is readable. Returns what ends that.

        fd must stay open until the returned function has been called. Raises VfioError.
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
        wake = EventFd()
        try:
            epoll = select.epoll()
            epoll.register(wake, select.EPOLLIN)
        except OSError as error:
            wake.close()
            raise VfioError(failure("waiting for eventfds", "epoll", error.errno or 0)) from None
        self._epoll, self._wake = epoll, wake
        self._thread = threading.Thread(
            target=self._run, args=(epoll, wake), name="watcher", daemon=True
        )
        self._thread.start()

    def _run(self, epoll: select.epoll, wake: EventFd) -> None:
        while True:
            for fd, _ in epoll.poll():
                if fd == wake.fileno():
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
        assert self._epoll is not None
        assert self._wake is not None
        self._wake.signal()
        thread.join()
        self._epoll.close()
        self._wake.close()
        self._epoll = self._wake = None
        self._callbacks.clear()
