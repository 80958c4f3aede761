# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RawTerminal: raw inside, as it was outside, whichever way one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator

import pytest

from pyvmm.machine.terminal import RawTerminal

Pty = tuple[int, int]


@pytest.fixture
def pty() -> Iterator[Pty]:
    master, slave = os.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def is_raw(fd: int) -> bool:
    iflag, oflag, _, lflag, *_ = termios.tcgetattr(fd)
    cooked = termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN
    input_processing = termios.ICRNL | termios.IXON
    if lflag & cooked == 0 and iflag & input_processing == 0:
        assert not oflag & termios.OPOST
        return True
    assert oflag & termios.OPOST
    assert lflag & cooked == cooked
    assert iflag & input_processing == input_processing
    return False


def test_raw_inside_and_as_before_outside(pty: Pty) -> None:
    before = termios.tcgetattr(pty[1])
    terminal = RawTerminal(pty[1])
    with terminal:
        assert is_raw(pty[1])
        os.write(pty[0], b"\x03\r")
        assert os.read(pty[1], 10) == b"\x03\r"
    assert termios.tcgetattr(pty[1]) == before
    terminal.close()


def test_restored_before_the_process_is_ended(pty: Pty) -> None:
    terminal = RawTerminal(pty[1])
    terminal.restore()
    with terminal:
        assert is_raw(pty[1])
        thread = threading.Thread(target=terminal.restore)
        thread.start()
        thread.join()
        assert not is_raw(pty[1])


def test_as_before_after_an_exception(pty: Pty) -> None:
    with pytest.raises(RuntimeError), RawTerminal(pty[1]):
        raise RuntimeError
    assert not is_raw(pty[1])


def test_signal_handlers_are_put_back(pty: Pty) -> None:
    caught = (signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in caught]
    with RawTerminal(pty[1]):
        assert [signal.getsignal(number) for number in caught] != before
    assert [signal.getsignal(number) for number in caught] == before


def test_whoever_handles_a_signal_keeps_it(pty: Pty) -> None:
    def handler(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with RawTerminal(pty[1]):
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    before = signal.getsignal(signal.SIGTSTP)
    with RawTerminal(reader):
        assert signal.getsignal(signal.SIGTSTP) == before
    os.close(reader)
    os.close(writer)
    with RawTerminal(reader):  # closed
        pass


def test_another_jobs_terminal_is_left_alone(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
    with RawTerminal(pty[1]):
        assert not is_raw(pty[1])


def test_a_terminal_hung_up_meanwhile_is_no_error() -> None:
    master, slave = os.openpty()
    with RawTerminal(slave):
        os.close(master)
    os.close(slave)


CHILD = """
import os, signal
os.open(os.ttyname(0), os.O_RDWR)  # now it is this session's controlling terminal
from pyvmm.machine.terminal import RawTerminal
signals, wakeup = os.pipe2(os.O_NONBLOCK)
os.set_blocking(signals, True)
signal.set_wakeup_fd(wakeup)
with RawTerminal():
    print("ready", flush=True)
    while True:
        number, = os.read(signals, 1)
        print("handled", number, flush=True)
"""


@pytest.fixture
def child(pty: Pty) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=pty[1],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def await_line(child: subprocess.Popen[bytes], wanted: bytes = b"ready\n") -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line == wanted:
            return
    raise AssertionError("the child has ended")


def test_a_stopped_process_gives_the_terminal_back(
    pty: Pty, child: subprocess.Popen[bytes]
) -> None:
    await_line(child)
    assert is_raw(pty[1])
    for _ in range(2):
        child.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not is_raw(pty[1])
        child.send_signal(signal.SIGCONT)
        await_line(child, b"handled %d\n" % signal.SIGCONT)
        assert is_raw(pty[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_fatal_signal_ends_the_process_with_the_terminal_put_back(
    pty: Pty, child: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    await_line(child)
    child.send_signal(number)
    assert child.wait(60) == -number
    assert not is_raw(pty[1])


def test_an_interrupt_ends_the_process_with_the_terminal_put_back(
    pty: Pty, child: subprocess.Popen[bytes]
) -> None:
    await_line(child)
    child.send_signal(signal.SIGINT)
    child.wait(60)
    assert not is_raw(pty[1])
