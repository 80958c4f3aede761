# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Sink: slow, stuck, full and broken readers never hold the writer up."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from pyvmm.machine.errors import ConsoleError
from pyvmm.machine.sink import Sink

pytestmark = pytest.mark.usefixtures("no_leaks")

MUCH = bytes(range(256)) * 1200
"""More than a pipe holds."""


def read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def test_a_file_gets_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("what was there before, and longer")
    sink = Sink.open(str(path))
    sink.write(b"hello ")
    sink.write(MUCH)
    assert path.read_bytes() == b"hello " + MUCH  # at once, without a thread
    sink.close()
    sink.close()


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_all_of_it_in_order(blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    notices: list[str] = []
    sink = Sink(writer, "the pipe", notices.append, owned=True)
    sink.write(MUCH)
    for byte in b"end":
        sink.write(bytes((byte,)))
    # All of it has been taken by now, although nobody has read a byte.
    closer = threading.Thread(target=sink.close, args=(60,))
    closer.start()
    assert read_all(reader) == MUCH + b"end"
    closer.join()
    assert notices == []


def test_writing_goes_on_directly_once_the_backlog_is_out() -> None:
    reader, writer = os.pipe()
    sink = Sink(writer, "the pipe", owned=True)
    for _ in range(3):
        sink.write(MUCH)
        got = b""
        while len(got) < len(MUCH):
            got += os.read(reader, 65536)
        assert got == MUCH
    sink.close(60)
    assert read_all(reader) == b""


def test_a_reader_that_never_reads_loses_output_and_stops_nothing() -> None:
    reader, writer = os.pipe()
    notices: list[str] = []
    sink = Sink(writer, "the pipe", notices.append, owned=True, limit=1000)
    sink.write(MUCH)
    sink.write(MUCH)
    sink.close(patience=0.01)
    got = read_all(reader)
    assert MUCH.startswith(got)
    assert notices == [
        f"{2 * len(MUCH) - len(got)} bytes of serial output are lost: "
        "the pipe took none for so long"
    ]


def test_what_was_lost_is_told_when_the_reader_is_back() -> None:
    reader, writer = os.pipe()
    told = threading.Event()
    notices: list[str] = []

    def notice(line: str) -> None:
        notices.append(line)
        told.set()

    sink = Sink(writer, "the pipe", notice, owned=True, limit=1000)
    sink.write(MUCH)
    got = b""
    while not told.is_set():
        os.set_blocking(reader, False)
        try:
            got += os.read(reader, 65536)
        except BlockingIOError:
            told.wait(0.01)
    os.set_blocking(reader, True)
    sink.close()
    got += read_all(reader)
    assert MUCH.startswith(got)
    (line,) = notices
    assert line.startswith(f"{len(MUCH) - len(got)} bytes of serial output are lost")


def test_a_reader_that_goes_away_is_told_once() -> None:
    reader, writer = os.pipe()
    notices: list[str] = []
    sink = Sink(writer, "stdout", notices.append, owned=True)
    os.close(reader)
    sink.write(b"hello")
    sink.write(b"hello")
    sink.close()
    assert notices == [
        "writing serial output to stdout: write: EPIPE (Broken pipe); "
        "the rest of it is not written there"
    ]


def test_a_reader_that_goes_away_with_a_backlog() -> None:
    reader, writer = os.pipe()
    told = threading.Event()
    sink = Sink(writer, "stdout", lambda _: told.set(), owned=True)
    sink.write(MUCH)
    os.close(reader)
    assert told.wait(60)
    sink.write(b"more")
    sink.close()


def test_a_full_disk_is_told() -> None:
    notices: list[str] = []
    sink = Sink.open("/dev/full", notices.append)
    sink.write(b"hello")
    sink.close()
    assert "/dev/full: write: ENOSPC (No space left on device)" in notices[0]


def test_a_closed_stdout_is_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    notices: list[str] = []
    sink = Sink(writer, "stdout", notices.append)
    sink.write(b"hello")
    sink.close()
    assert "stdout: write: EBADF (Bad file descriptor)" in notices[0]


def test_a_notice_that_cannot_be_given_does_no_harm() -> None:
    def notice(_: str) -> None:
        raise BrokenPipeError("stderr is gone too")

    sink = Sink.open("/dev/full", notice)
    sink.write(b"hello")
    sink.close()


@pytest.mark.parametrize("size", [1, 1000])
def test_a_terminal_nobody_reads_does_not_block(size: int) -> None:
    master, slave = os.openpty()
    sink = Sink(slave, "the terminal")
    for _ in range(100_000 // size):  # far more than a terminal holds
        sink.write(b"\n" * size)
    sink.close(patience=0.01)
    assert os.get_blocking(slave)  # it is the shell's too
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "open: EISDIR (Is a directory); name a file that can be written"),
        (
            "no/such",
            "open: ENOENT (No such file or directory); name a file that can be written",
        ),
        ("fifo", "open: ENXIO (No such device or address); nobody reads this FIFO"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path: Path, name: str, problem: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = str(tmp_path / name)
    with pytest.raises(ConsoleError) as caught:
        Sink.open(path)
    assert str(caught.value) == f"opening {path} for serial output: {problem}"


def test_a_file_that_another_one_empties_has_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with contextlib.closing(Sink.open(str(path))) as first:
        first.write(b"what the first one says")
        with contextlib.closing(Sink.open(str(path))) as second:
            second.write(b"second ")
            first.write(b"first")
    assert path.read_bytes() == b"second first"
