# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Eventfds, ours and other people's, never block and have one owner each."""

from __future__ import annotations

import ctypes
import errno
import os
import threading

import pytest

from pyvmm.vfio import DeviceError, EventFd, eventfd_signal
from tests.unit.vfio.fakes import PATIENCE

FULL = (1 << 64) - 2


@pytest.fixture(params=["asynchronous I/O", "write"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How an eventfd is signalled: not every kernel has the first."""
    if request.param == "write":
        monkeypatch.setattr(eventfd_signal, "signal", lambda fd: False)
    return str(request.param)


def test_signals_add_up_and_reading_clears() -> None:
    with EventFd() as eventfd:
        assert not eventfd.pending()
        assert eventfd.read() == 0
        eventfd.signal()
        os.eventfd_write(eventfd.fileno(), 3)
        eventfd.signal()
        assert eventfd.pending()
        assert eventfd.wait(0)
        assert eventfd.read() == 5
        assert not eventfd.wait(0)


def test_it_is_not_inherited() -> None:
    with EventFd() as eventfd, EventFd.from_fd(eventfd.fileno()) as other:
        assert not os.get_inheritable(eventfd.fileno())
        assert not os.get_inheritable(other.fileno())


def test_who_shares_it_cannot_make_it_block() -> None:
    """O_NONBLOCK belongs to the open file, and a hostile peer may take it away at any time."""
    with EventFd() as eventfd, EventFd.from_fd(eventfd.fileno()) as theirs:
        os.set_blocking(theirs.fileno(), True)
        for reference in (eventfd, theirs):
            assert reference.read() == 0
            os.eventfd_write(eventfd.fileno(), FULL)
            reference.signal()
            assert reference.read() >= FULL


@pytest.mark.parametrize("way", ["asynchronous I/O"], indirect=True)
def test_who_fills_it_at_the_last_moment_cannot_make_it_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a hostile peer can do between any check and what follows it."""

    def ready(_eventfd: EventFd, _events: int, _timeout: float | None = 0) -> bool:
        return True

    monkeypatch.setattr(EventFd, "_ready", ready)
    with EventFd() as eventfd:
        os.set_blocking(eventfd.fileno(), True)
        os.eventfd_write(eventfd.fileno(), FULL)
        thread = threading.Thread(target=eventfd.signal, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        stuck = thread.is_alive()
        assert eventfd.read() > FULL
        assert not stuck


def test_any_number_of_signals() -> None:
    """More than the kernel keeps completions for."""
    with EventFd() as eventfd:
        for _ in range(5000):
            eventfd.signal()
        assert eventfd.read() == 5000


def test_a_child_signals_too() -> None:
    with EventFd() as eventfd:
        eventfd.signal()
        child = os.fork()
        if not child:
            eventfd.signal()
            os._exit(0)
        os.waitpid(child, 0)
        assert eventfd.read() == 2


def test_a_kernel_without_asynchronous_io(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    monkeypatch.setattr(eventfd_signal, "_made", [])
    monkeypatch.setattr(eventfd_signal, "_syscall", none)
    with EventFd() as eventfd:
        eventfd.signal()
        assert eventfd.read() == 1


def test_a_system_that_is_short_of_asynchronous_io_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """fs.aio-max-nr is everybody's: that others use it all up now says nothing about later."""

    def short(*_: object) -> int:
        ctypes.set_errno(errno.EAGAIN)
        return -1

    made: list[object] = []
    monkeypatch.setattr(eventfd_signal, "_made", made)
    with monkeypatch.context() as context:
        context.setattr(eventfd_signal, "_syscall", short)
        eventfd_signal.prepare()
    assert not made
    eventfd_signal.prepare()
    (context_of_ours,) = made
    assert context_of_ours is not None
    eventfd_signal._syscall(eventfd_signal._NR_IO_DESTROY, context_of_ours)


def test_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_number(*_: object) -> int:
        raise AssertionError("who knows what system call this is there")

    monkeypatch.setattr(eventfd_signal, "_KNOWN", False)
    monkeypatch.setattr(eventfd_signal, "_syscall", wrong_number)
    with EventFd() as eventfd:
        eventfd.signal()
        assert eventfd.read() == 1


def test_the_longest_wait() -> None:
    with EventFd() as eventfd:
        eventfd.signal()
        assert eventfd.wait(1e12)


def test_a_kernel_that_reads_eventfds_in_the_old_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "so it was before 5.8")

    monkeypatch.setattr(os, "preadv", unknown)
    with EventFd() as eventfd:
        assert eventfd.read() == 0
        eventfd.signal()
        assert eventfd.read() == 1


def test_a_full_counter_does_not_block() -> None:
    with EventFd() as eventfd:
        os.eventfd_write(eventfd.fileno(), FULL)
        eventfd.signal()
        assert eventfd.read() >= FULL


def test_a_reference_outlives_the_original() -> None:
    with EventFd() as eventfd:
        other = EventFd.from_fd(eventfd.fileno())
        eventfd.signal()
    with other:
        assert other.read() == 1


def test_a_blocking_eventfd_is_left_blocking_and_does_not_block_us() -> None:
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        with EventFd.from_fd(fd) as other:
            assert os.get_blocking(fd)
            assert other.read() == 0
            os.eventfd_write(fd, FULL)
            other.signal()
            assert other.read() >= FULL
    finally:
        os.close(fd)


def test_only_an_eventfd_is_an_eventfd() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(DeviceError, match=r"pipe.* as an eventfd: EINVAL") as caught:
            EventFd.from_fd(writer)
        assert caught.value.errno == errno.EINVAL
    finally:
        os.close(reader)
        os.close(writer)
    with pytest.raises(DeviceError) as caught:
        EventFd.from_fd(writer)
    assert caught.value.errno == errno.EBADF


def test_a_semaphore_is_refused() -> None:
    """A read takes one from its counter: whoever waits for it to be read empty waits for ever."""
    fd = os.eventfd(0, os.EFD_SEMAPHORE)
    try:
        with pytest.raises(DeviceError, match=r"counts down by one .*: EINVAL") as caught:
            EventFd.from_fd(fd)
        assert caught.value.errno == errno.EINVAL
    finally:
        os.close(fd)


def test_closing_twice_is_closing_once() -> None:
    eventfd = EventFd()
    eventfd.close()
    with EventFd():  # may get the same number
        eventfd.close()
        assert eventfd.fileno() == -1
