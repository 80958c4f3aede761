# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The two threads of a model: they start late, call in order, and end when told."""

from __future__ import annotations

import threading
import time

import pytest

from pyvmm.models.worker import EventLoop, Worker
from pyvmm.vfio import EventFd, VfioError

LIMIT = 30  # seconds; nothing here takes as long


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def turn(loop: EventLoop) -> None:
    """Wait until the loop has looked at all eventfds signalled before this."""
    for _ in range(2):
        seen = threading.Event()
        loop.call_later(0, seen.set)
        assert seen.wait(LIMIT)


def test_no_thread_before_there_is_something_to_do() -> None:
    loop, worker = EventLoop("a loop"), Worker("a worker")
    assert not {"a loop", "a worker"} & names()
    loop.call_later(3600, lambda: None)
    worker.submit(lambda: None)
    assert {"a loop", "a worker"} <= names()
    loop.close()
    worker.close()
    assert not {"a loop", "a worker"} & names()


def test_closing_what_never_started_or_is_closed() -> None:
    loop, worker = EventLoop("a loop"), Worker("a worker")
    for _ in range(2):
        loop.close()
        worker.close()
    loop.call_later(0, lambda: None)
    worker.submit(lambda: None)
    with EventFd() as fd:
        loop.watch(fd, lambda: None)
        loop.unwatch(fd)
    assert not {"a loop", "a worker"} & names()


def test_eventfds_are_looked_at_while_they_are_watched() -> None:
    loop = EventLoop("a loop")
    counts: list[int] = []
    arrived = threading.Event()

    def count() -> None:
        counts.append(fd.read())
        arrived.set()

    with EventFd() as fd:
        for _ in range(3):
            fd.signal()
        loop.watch(fd, count)
        assert arrived.wait(LIMIT)
        assert counts == [3]
        assert not fd.pending()
        loop.unwatch(fd)
        fd.signal()
        turn(loop)
        assert counts == [3]
        assert fd.pending()
        loop.close()


def test_a_watched_eventfd_may_take_itself_away() -> None:
    loop = EventLoop("a loop")
    gone = threading.Event()
    fd = EventFd()

    def once() -> None:
        loop.unwatch(fd)
        fd.close()
        gone.set()

    loop.watch(fd, once)
    fd.signal()
    assert gone.wait(LIMIT)
    turn(loop)
    loop.close()


def test_what_was_signalled_is_acted_on_while_the_loop_is_held_up() -> None:
    loop = EventLoop("a loop")
    counts: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def take_long() -> None:
        begun.set()
        assert go_on.wait(LIMIT)

    with EventFd() as fd:
        loop.call_later(0, take_long)
        assert begun.wait(LIMIT)
        loop.watch(fd, lambda: counts.append(fd.read()))
        for _ in range(2):
            fd.signal()
        loop.settle()
        assert counts == [2]
        go_on.set()
        loop.close()


def test_the_loop_may_close_itself() -> None:
    loop = EventLoop("a loop")
    closed = threading.Event()

    def close() -> None:
        loop.close()
        closed.set()

    loop.call_later(0, close)
    loop.call_later(3600, lambda: None)
    assert closed.wait(LIMIT)
    for thread in threading.enumerate():
        if thread.name == "a loop":
            thread.join(LIMIT)
    assert "a loop" not in names()


def test_a_timer_for_a_time_that_never_comes() -> None:
    loop = EventLoop("a loop")
    loop.call_later(1e12, lambda: None)
    turn(loop)
    loop.close()


def test_a_job_knows_that_it_is_one() -> None:
    worker = Worker("a worker")
    current: list[bool] = []
    worker.submit(lambda: current.append(worker.current))
    worker.close()
    assert current == [True]
    assert not worker.current


def test_jobs_are_done_in_order_and_close_waits_for_them() -> None:
    worker = Worker("a worker")
    done: list[int] = []
    for n in range(10):
        worker.submit(lambda n=n: done.append(n))  # type: ignore[misc]
    worker.close()
    assert done == list(range(10))


def test_no_thread_left(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and nothing has begun: what comes later starts afresh, and closing works."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    loop, worker = EventLoop("a loop"), Worker("a worker")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(VfioError, match=r"can't start new thread; raise the limit"):
            loop.call_later(0, lambda: None)
        with pytest.raises(VfioError, match=r"can't start new thread; raise the limit"):
            worker.submit(lambda: None)
    done = threading.Semaphore(0)
    loop.call_later(0, done.release)
    worker.submit(done.release)
    assert done.acquire(timeout=LIMIT)
    assert done.acquire(timeout=LIMIT)
    loop.close()
    worker.close()


def test_a_worker_with_several_threads_does_so_many_jobs_at_a_time() -> None:
    worker = Worker("a worker", 3)
    together = threading.Barrier(3)
    passed: list[int] = []

    def meet() -> None:
        together.wait(LIMIT)
        passed.append(threading.get_ident())

    for _ in range(2):
        for _ in range(3):
            worker.submit(meet)
    worker.close()
    assert len(passed) == 6
    assert len(set(passed)) == 3


def test_threads_are_started_when_none_is_free() -> None:
    worker = Worker("a worker", 3)
    for _ in range(5):
        done = threading.Event()
        worker.submit(done.set)
        assert done.wait(LIMIT)
    assert sum(thread.name == "a worker" for thread in threading.enumerate()) < 3
    worker.close()


def test_a_thread_is_a_worker_s_before_who_started_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be at work already, on a job that was left before and that nobody has taken yet."""
    start, run = threading.Thread.start, Worker._run
    gate = threading.Event()

    def start_and_dawdle(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(0.02)

    def run_once_the_gate_is_open(worker: Worker) -> None:
        if threading.active_count() == before + 1:
            assert gate.wait(LIMIT)
        run(worker)

    current: list[bool] = []
    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_and_dawdle)
        patch.setattr(Worker, "_run", run_once_the_gate_is_open)
        worker = Worker("a worker", 2)
        for _ in range(2):
            worker.submit(lambda: current.append(worker.current))
        gate.set()
    worker.close()
    assert current == [True] * 2
