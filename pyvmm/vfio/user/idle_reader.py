# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IdleReader: reads a client's socket when no caller does."""

from __future__ import annotations

import errno
import select
import threading
from collections.abc import Callable

from ...uapi.ioctl import failure
from ..errors import VfioError
from ..eventfd import EventFd

_QUIET = select.EPOLLONESHOT
_ARMED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
# Seconds. It has nothing to wait for, unless a peer has found something; and that must not keep us,
# nor one device after another the whole VMM.
_LONGEST_END = 1.0


class IdleReader:
    """A thread that waits for the peer's own commands, and for its end, between calls.

    busy() keeps it asleep while a caller reads: two system calls for a call, and no change of
    threads. Events are one-shot, so that what it has been told once doesn't wake it again
    before idle().
    """

    def __init__(self, fd: int, name: str, handle: Callable[[], bool]) -> None:
        """Watch fd, from the first idle() on. handle() reads it; False ends the thread."""
        self._fd = fd
        self._handle = handle
        self._stop = EventFd()
        try:
            self._epoll = select.epoll()
        except OSError as e:
            self._stop.close()
            cure = "raise the limit of open files (ulimit -n)" if e.errno == errno.EMFILE else ""
            told = failure(f"watching {name}", "epoll_create1", e.errno or 0)
            raise VfioError(told, cure) from None
        self._epoll.register(self._stop, select.EPOLLIN)
        self._epoll.register(fd, _QUIET)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as e:
            self._epoll.close()
            self._stop.close()
            cure = "raise the limit on processes (ulimit -u)"
            raise VfioError(f"watching {name}: {e}", cure) from None

    def busy(self) -> None:
        self._epoll.modify(self._fd, _QUIET)

    def idle(self) -> None:
        self._epoll.modify(self._fd, _ARMED)

    def _run(self) -> None:
        while True:
            ready = [fd for fd, _ in self._epoll.poll()]
            if self._stop.fileno() in ready or not self._handle():
                return

    def close(self) -> None:
        """End the thread; handle() must have nothing left to wait for. Idempotent.

        The fd may be closed already, and busy() and idle() are not called any more.
        """
        if self._epoll.closed:
            return
        self._stop.signal()
        if threading.current_thread() is not self._thread:
            self._thread.join(_LONGEST_END)
            if self._thread.is_alive():
                return  # and leave it what it waits with
        self._epoll.close()
        self._stop.close()
