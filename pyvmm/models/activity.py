# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Activity: what a model does by itself, timers and work, which resets drop and stops hold up.

Work that is under way when the model is stopped stops where it does DMA next, or where it is
done; what becomes due meanwhile happens when the model goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TypeVar

from pyvmm.vfio import DmaFault

from .worker import EventLoop, Worker

T = TypeVar("T")


class _Stopped(DmaFault):
    """The model was stopped right before a DMA, which is to be tried again when it goes on."""


class _Job(threading.local):
    """What a worker's thread is at."""

    epoch = 0
    """The one that its work belongs to"""
    views = 0
    """Views of memory that it has: whoever stops the model waits for their end, and so it doesn't
    wait before.
    """


class Activity:
    """The timers and the work of one model, whose lock they share."""

    def __init__(
        self,
        name: str,
        lock: threading.RLock,
        report: Callable[[Exception], None],
        *,
        workers: int = 1,
        waiters: int = 1,
    ) -> None:
        """report is told what the model's methods raise, which ends no thread. workers is how many
        pieces of work may be done at a time, and waiters how many that wait.
        """
        self.events = EventLoop(f"{name} events")
        self._worker = Worker(f"{name} worker", workers)
        self._waiter = Worker(f"{name} waiter", waiters)
        self.job = _Job()
        self._lock = lock
        self.report = report
        self._changed = threading.Condition(lock)
        self._stopped = False
        self._held: list[Callable[[], object]] = []
        self._times: dict[Callable[[int], object], int] = {}
        """of what is held, how often it happened, if that may be any number of times"""
        # Each reset begins a new epoch; timers and work that belong to an old one are dropped.
        self._epoch = 0

    def call_later(self, seconds: float, method: Callable[[], object]) -> None:
        """Call a short method after so many seconds, unless what is under way is dropped before."""
        epoch = self._epoch

        def due() -> None:
            with self._lock:
                if epoch == self._epoch:
                    self.happen(method)

        self.events.call_later(seconds, due)

    def happen(self, method: Callable[[], object]) -> None:
        """Call a short method, now or when the model goes on. With the lock held."""
        if self._stopped:
            self._held.append(method)
        else:
            self.guarded(method)

    def happen_times(self, method: Callable[[int], object], times: int) -> None:
        """Call a short method with how often something happened, now or once, with the sum, when
        the model goes on: others make it happen as often as they like. With the lock held.
        """
        if self._stopped:
            if method not in self._times:
                self._held.append(lambda: method(self._times.pop(method)))
            self._times[method] = self._times.get(method, 0) + times
        else:
            self.guarded(lambda: method(times))

    def start(
        self,
        work: Callable[[], T],
        done: Callable[[T], None] | None,
        *,
        waits: bool = False,
    ) -> None:
        """Have work done, without the lock, then call done with its result.

        What waits has threads of its own, so that it holds up nothing else.
        """
        epoch = self._epoch

        def finish() -> None:
            result = work()
            with self._lock:
                self._pause(epoch)
                if done and epoch == self._epoch:
                    done(result)

        def job() -> None:
            with self._lock:
                self._pause(epoch)
                if epoch != self._epoch:
                    return
                self.job.epoch = epoch
            self.guarded(finish)

        (self._waiter if waits else self._worker).submit(job)

    def dma(self, access: Callable[[], T]) -> T:
        """Do DMA for work under way, which goes on, before and after, while it isn't stopped."""
        result = self.begin_dma(access)
        self._pause_work()
        return result

    def begin_dma(self, access: Callable[[], T]) -> T:
        """The same for DMA that is not over with this: what stops the model waits for its end."""
        while True:
            self._pause_work()
            with suppress(_Stopped):
                return access()

    def check_dma(self, iova: int, size: int) -> None:
        """Raise DmaFault if work under way may do no DMA right now. Takes no lock."""
        if not self._is_work:
            # It may have to wait for the very access that would be waiting for it.
            raise RuntimeError("DMA is work: give it to start()")
        if self.job.epoch != self._epoch:
            raise DmaFault(iova, size, "the device was reset")
        if self._stopped and not self.job.views:
            raise _Stopped(iova, size, "the device is stopped")

    @property
    def _is_work(self) -> bool:
        """Whether the caller is work under way."""
        return self._worker.current or self._waiter.current

    def _pause_work(self) -> None:
        if self._stopped and not self.job.views and self._is_work:
            with self._lock:
                self._pause(self.job.epoch)

    def _pause(self, epoch: int) -> None:
        """Wait, without the lock, while what belongs to this epoch is stopped."""
        while self._stopped and epoch == self._epoch:
            self._changed.wait()

    def guarded(self, method: Callable[[], object]) -> None:
        try:
            method()
        except Exception as error:
            self.report(error)

    def stop(self) -> None:
        """Hold everything up. Eventfds that were signalled before have been acted on.

        DMA may still be under way.
        """
        with self._lock:
            self.events.settle()
            self._stopped = True

    def drop_all(self) -> None:
        """As drop(), and what eventfds were signalled for before is over, too."""
        with self._lock:
            self.events.settle()
            self.drop()

    def go_on(self) -> None:
        """Undo stop()."""
        with self._lock:
            self._stopped = False
            held, self._held = self._held, []
            for method in held:
                self.guarded(method)
            self._changed.notify_all()

    def drop(self) -> None:
        """Forget all timers and work; DMA of work under way fails from now on."""
        with self._lock:
            self._epoch += 1
            self._held.clear()
            self._times.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads; nothing happens after this returns. Idempotent."""
        self.drop()
        self.events.close()
        self._worker.close()
        self._waiter.close()


class DmaView(AbstractContextManager[memoryview | None]):
    """A view of memory for work under way, which begins while the model isn't stopped."""

    __slots__ = ("_activity", "_make", "_view")

    def __init__(
        self,
        activity: Activity,
        make: Callable[[], AbstractContextManager[memoryview | None]],
    ) -> None:
        self._activity = activity
        self._make = make
        self._view: AbstractContextManager[memoryview | None] | None = None

    def __enter__(self) -> memoryview | None:
        return self._activity.begin_dma(self._begin)

    def _begin(self) -> memoryview | None:
        view = self._make()
        memory = view.__enter__()
        self._view = view
        self._activity.job.views += 1
        return memory

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._view is not None
        self._activity.job.views -= 1
        return self._view.__exit__(kind, error, traceback)
