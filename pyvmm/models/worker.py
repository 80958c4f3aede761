# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The threads that a model may have, each started when it is first needed.

`EventLoop` waits for eventfds and for times, and calls short functions. `Worker` does what
takes long or waits for others: computing, DMA, files.
"""

from __future__ import annotations

import heapq
import itertools
import select
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from pyvmm.uapi.ioctl import failure
from pyvmm.vfio import EventFd, VfioError

_LONGEST_WAIT = 86400.0  # seconds


class EventLoop:
    """Calls functions when eventfds are signalled and when times come, on one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._wake: EventFd | None = None
        self._poll: select.epoll | None = None
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` once, so many seconds from now. Raises VfioError."""
        with self._lock:
            self._start()
            due = time.monotonic() + seconds
            heapq.heappush(self._timers, (due, next(self._order), function))
            if self._wake:
                self._wake.signal()

    def watch(self, eventfd: EventFd, function: Callable[[], None]) -> None:
        """Call `function`, which reads `eventfd`, whenever that is signalled.

        It reads, and acts on what it has read, with one lock held: then whoever has that lock
        knows that nothing is under way. The caller keeps the eventfd, and doesn't close it before
        `unwatch`. Raises VfioError.
        """
        with self._lock:
            self._start()
            if self._poll:
                self._watched[eventfd.fileno()] = function
                self._poll.register(eventfd.fileno(), select.EPOLLIN)

    def unwatch(self, eventfd: EventFd) -> None:
        """Leave `eventfd` alone. A call that is under way may still end after this returns."""
        with self._lock:
            if self._watched.pop(eventfd.fileno(), None) and self._poll:
                self._poll.unregister(eventfd.fileno())

    def settle(self) -> None:
        """Have what was signalled before now acted on, whatever the thread is at."""
        with self._lock:
            functions = tuple(self._watched.values())
        for function in functions:
            function()

    def close(self) -> None:
        """End the thread; nothing is called after this returns. Idempotent."""
        with self._lock:
            self._closed = True
            if self._wake:
                self._wake.signal()
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        if self._thread or self._closed:
            return
        wake = EventFd()
        try:
            poll = select.epoll()
            poll.register(wake.fileno(), select.EPOLLIN)
        except OSError as error:
            wake.close()
            raise VfioError(
                failure(f"starting {self._name}", "epoll_create1", error.errno or 0)
            ) from None
        thread = threading.Thread(target=self._run, args=(poll, wake), name=self._name, daemon=True)
        try:
            _start_thread(thread)
        except VfioError:
            poll.close()
            wake.close()
            raise
        self._poll, self._wake, self._thread = poll, wake, thread

    def _run(self, poll: select.epoll, wake: EventFd) -> None:
        while True:
            with self._lock:
                if self._closed:
                    poll.close()
                    wake.close()
                    self._poll = self._wake = None
                    return
                due, timeout = self._due()
            for function in due:
                function()
            for fd, _ in poll.poll(0 if due else timeout):
                with self._lock:
                    if fd == wake.fileno():
                        wake.read()
                    call = self._watched.get(fd)
                if call:
                    call()

    def _due(self) -> tuple[list[Callable[[], None]], float | None]:
        """The functions whose time has come, and the seconds until the next one's."""
        now = time.monotonic()
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        # Longer than epoll_wait(2) knows is as good as then looking again.
        return due, min(self._timers[0][0] - now, _LONGEST_WAIT) if self._timers else None


class Worker:
    """Does jobs on up to so many threads; on one, the usual number, one after the other."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._name = name
        self._most = threads
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._here = threading.local()  # .worker: whether this is one of them
        self._free = 0
        """threads without a job, less the jobs that wait for one"""
        self._closed = False

    @property
    def current(self) -> bool:
        """Whether the caller is a job of this worker."""
        return getattr(self._here, "worker", False)

    def submit(self, job: Callable[[], None]) -> None:
        """Do `job`, which raises nothing, and begin it after those submitted before.

        Raises VfioError.
        """
        with self._lock:
            if self._closed:
                return
            if self._free <= 0 and len(self._threads) < self._most:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                _start_thread(thread)
                self._threads.append(thread)
                self._free += 1
            self._free -= 1
            self._jobs.put(job)

    def close(self) -> None:
        """Finish the jobs and end the threads. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        self._here.worker = True
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._free += 1


def _start_thread(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        cure = "raise the limit on processes (ulimit -u)"
        raise VfioError(f"starting {thread.name}: {error}; {cure}") from None
