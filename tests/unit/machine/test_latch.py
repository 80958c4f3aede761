# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Latch: waited for by many, opened once or more, by a signal handler too."""

from __future__ import annotations

import signal
import threading

from pyvmm.machine.latch import Latch

LIMIT = 30.0


def test_shut() -> None:
    latch = Latch()
    assert not latch.wait(0)
    assert not latch.wait(0.001)
    assert not latch.wait(-1)


def test_open() -> None:
    latch = Latch()
    latch.open()
    for _ in range(2):
        assert latch.wait()
        assert latch.wait(0)


def test_all_that_wait_come_through() -> None:
    latch = Latch()
    came: list[bool] = []
    threads = [threading.Thread(target=lambda: came.append(latch.wait(LIMIT))) for _ in range(5)]
    for thread in threads:
        thread.start()
    latch.open()
    for thread in threads:
        thread.join(LIMIT)
    assert came == [True] * 5


def test_opened_by_a_signal_handler_of_the_thread_that_waits() -> None:
    """Wherever in wait() the signal finds it."""
    for _ in range(100):
        latch = Latch()
        handler = signal.signal(signal.SIGUSR1, lambda *_: latch.open())  # noqa: B023
        try:
            main = threading.main_thread().ident
            assert main is not None
            thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGUSR1))
            thread.start()
            assert latch.wait(LIMIT)
            thread.join(LIMIT)
        finally:
            signal.signal(signal.SIGUSR1, handler)


def test_opened_again_and_again_while_it_is_waited_for() -> None:
    latch = Latch()

    def open() -> None:
        for _ in range(2000):
            latch.open()

    openers = [threading.Thread(target=open) for _ in range(2)]
    for opener in openers:
        opener.start()
    for _ in range(2000):
        assert latch.wait(LIMIT)
    for opener in openers:
        opener.join(LIMIT)
