# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""StopSignals: what a signal does at which time, and that handlers are put back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pyvmm.cli.signals import Interrupted, StopSignals

LIMIT = 30.0
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers_put_back(no_leaks: None) -> Iterator[None]:
    # Not as they were: a shell may have us ignore some.
    outside = [signal.signal(number, signal.default_int_handler) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, outside, strict=True):
        assert signal.signal(number, handler) is signal.default_int_handler


@pytest.mark.parametrize("number", NUMBERS)
def test_before_there_is_anything_to_stop(number: signal.Signals) -> None:
    signals = StopSignals()
    with pytest.raises(Interrupted, match=number.name) as failed, signals:
        signal.raise_signal(number)
    assert failed.value.number == signals.number == number


def test_undoing_is_not_interrupted() -> None:
    signals = StopSignals()

    def undo(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        undone.append(signals.number)

    undone: list[int] = []
    stack = ExitStack()
    stack.push(undo)
    with pytest.raises(Interrupted, match="SIGINT"), signals, stack:
        signal.raise_signal(signal.SIGINT)
    assert undone == [signal.SIGINT]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_python_has_dropped() -> None:
    """What is raised in a destructor goes nowhere; imports have such moments."""

    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    stopped: list[str] = []
    with StopSignals() as signals:
        Destroyed()
        signals.call(stopped.append)
    assert stopped == ["SIGTERM"]


def test_when_there_is() -> None:
    stopped: list[str] = []
    with StopSignals() as signals:
        signals.call(stopped.append)
        assert signals.number == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert stopped == ["SIGTERM", "SIGINT"]
    assert signals.number == signal.SIGTERM


def test_the_first_one_is_told() -> None:
    told: list[int] = []
    with pytest.raises(Interrupted), StopSignals(told.append):
        signal.raise_signal(signal.SIGHUP)
    with StopSignals(told.append) as signals:
        signals.call(lambda _: None)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert told == [signal.SIGHUP, signal.SIGTERM]


def test_while_the_main_thread_waits() -> None:
    """For a lock, and it is another thread that the kernel hands the signal to."""
    stopped = threading.Lock()
    stopped.acquire()
    with StopSignals() as signals:
        signals.call(lambda _: stopped.release())
        other = threading.Thread(target=signal.raise_signal, args=(signal.SIGHUP,))
        other.start()
        assert stopped.acquire(timeout=LIMIT)
        other.join(LIMIT)
    assert signals.number == signal.SIGHUP


def test_not_the_signals_of_others() -> None:
    stopped: list[str] = []
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with StopSignals() as signals:
            signals.call(stopped.append)
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert stopped == []
    assert signals.number == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(number)
        assert signals.number == 0
    finally:
        signal.signal(number, handler)
