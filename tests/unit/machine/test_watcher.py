# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Watcher: callbacks while a descriptor is readable, and none once they are not wanted."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator

import pytest

from pyvmm.machine.watcher import Watcher
from pyvmm.vfio import EventFd, VfioError

LIMIT = 30.0


@pytest.fixture
def eventfd(no_leaks: None) -> Iterator[EventFd]:
    with EventFd() as eventfd:
        yield eventfd


@pytest.fixture
def watcher(eventfd: EventFd) -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


def test_no_thread_for_nothing(no_leaks: None) -> None:
    threads = threading.active_count()
    watcher = Watcher()
    assert threading.active_count() == threads
    watcher.close()
    watcher.close()


def test_each_signal(watcher: Watcher, eventfd: EventFd) -> None:
    called = threading.Semaphore(0)

    def callback() -> None:
        eventfd.read()
        called.release()

    watcher.watch(eventfd.fileno(), callback)
    for _ in range(3):
        eventfd.signal()
        assert called.acquire(timeout=LIMIT)


def test_only_what_is_still_wanted(watcher: Watcher, eventfd: EventFd) -> None:
    called = threading.Semaphore(0)

    def callback() -> None:
        eventfd.read()
        called.release()

    with EventFd() as other:
        unwatch = watcher.watch(other.fileno(), lambda: None)
        watcher.watch(eventfd.fileno(), callback)
        unwatch()
        other.signal()
        eventfd.signal()
        assert called.acquire(timeout=LIMIT)
        assert other.pending()


def test_unwatching_twice(watcher: Watcher, eventfd: EventFd) -> None:
    unwatch = watcher.watch(eventfd.fileno(), lambda: None)
    unwatch()
    unwatch()
    watcher.watch(eventfd.fileno(), lambda: None)


def test_closed_while_one_is_signalled(watcher: Watcher, eventfd: EventFd) -> None:
    """Its callback never reads, so that it is called again and again."""
    called = threading.Event()
    watcher.watch(eventfd.fileno(), called.set)
    eventfd.signal()
    assert called.wait(LIMIT)
    watcher.close()
    assert "watcher" not in {thread.name for thread in threading.enumerate()}


def test_no_descriptor_left(
    watcher: Watcher, eventfd: EventFd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "told to fail")

    monkeypatch.setattr("select.epoll", refuse)
    with pytest.raises(VfioError, match="waiting for eventfds: epoll: EMFILE"):
        watcher.watch(eventfd.fileno(), lambda: None)
