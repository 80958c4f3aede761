# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Backing: what can be a drive, and what tells one from all others."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from pyvmm.models import ModelError
from pyvmm.models import backing as backings
from pyvmm.models.backing import Backing, NotDurable
from pyvmm.models.file_dma import Segment

LIMIT = 30.0  # seconds, for what takes milliseconds


def identity(path: Path) -> str:
    backing = Backing.open(str(path), read_only=True)
    backing.close()
    return str(backing.identity)


def test_a_file_s_identity_is_the_host_s_and_the_path_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    machine = tmp_path / "machine-id"
    monkeypatch.setattr(backings, "_MACHINE_ID", str(machine))
    seen = set()
    for path in (first, second):
        path.write_bytes(bytes(512))
        for host in ("0" * 32, "1" * 32, "uninitialized", None):
            machine.write_text(f"{host}\n") if host else machine.unlink()
            seen.add(identity(path))
            assert identity(path) in seen
    assert len(seen) == 6, "without a host's identity, it is the inode's"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("read_only", [True, False])
def test_nothing_is_waited_for_that_is_no_drive(tmp_path: Path, read_only: bool) -> None:
    fifo, listening = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with pytest.raises(ModelError, match="neither a file nor a block device"):
        Backing.open(str(fifo), read_only=read_only)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(listening))
        with pytest.raises(ModelError, match="name a file or a block device"):
            Backing.open(str(listening), read_only=read_only)


def test_a_drive_s_descriptor_waits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(512))
    backing = Backing.open(str(path))
    assert os.get_blocking(backing.fd)
    backing.close()


class Memory:
    """Takes all that is written to files, or fails as it is told."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def dma_to_file(
        self,
        fd: int,
        offset: int,
        segments: list[Segment],
        flags: int = 0,
        *,
        straight: bool = False,
    ) -> int:
        if self.error:
            raise self.error
        return sum(size for _, size in segments)

    dma_from_file = dma_to_file


def test_a_flush_that_failed_fails_ever_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells it once, by whatever errno."""
    for number in (errno.EIO, errno.ENOSPC):
        backing = Backing.memory(1 << 20)
        errors = [OSError(number, "lost")]

        def fdatasync(_fd: int, errors: list[OSError] = errors) -> None:
            if errors:
                raise errors.pop()

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        for _ in range(2):
            backing.write_from(Memory(), 0, [(0, 512)], 512)
            with pytest.raises(NotDurable) as caught:
                backing.flush()
            assert caught.value.errno == number
        backing.close()


def test_a_write_without_room_loses_nothing() -> None:
    backing = Backing.memory(1 << 20)
    memory = Memory()
    memory.error = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full") as caught:
        backing.write_from(memory, 0, [(0, 512)], 512)
    assert not isinstance(caught.value, NotDurable)
    memory.error = None
    backing.write_from(memory, 0, [(0, 512)], 512)
    backing.flush()
    backing.close()


class Disk:
    """Its flushes take until they may go on; the first one fails, if it is to."""

    def __init__(self, *, fails: bool) -> None:
        self.flushes = 0
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self._fails = fails

    def fdatasync(self, _fd: int) -> None:
        self.flushes += 1
        self.begun.release()
        assert self.go_on.acquire(timeout=LIMIT)
        if self._fails and self.flushes == 1:
            raise OSError(errno.EIO, "lost")


@pytest.mark.parametrize("fails", [True, False])
def test_flushes_at_once(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Of a loss the kernel tells one of them alone, and it may be any one's.

    Those that came while one was under way are not covered by it, and have the next.
    """
    disk = Disk(fails=fails)
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    backing = Backing.memory(1 << 20)
    outcomes: list[OSError | None] = []

    def flush() -> None:
        try:
            backing.flush()
        except OSError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    threads = [threading.Thread(target=flush) for _ in range(4)]
    threads[0].start()
    assert disk.begun.acquire(timeout=LIMIT)
    for thread in threads[1:]:
        thread.start()
    while backing._wanted < 4:
        time.sleep(0.001)
    for _ in range(4):
        disk.go_on.release()
    for thread in threads:
        thread.join(LIMIT)
    assert [isinstance(error, NotDurable) for error in outcomes] == [fails] * 4
    assert disk.flushes == (1 if fails else 2)
    backing.close()
