# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The thread that reads for nobody: it can fail to start, and be stuck when it is to end."""

from __future__ import annotations

import socket
import threading

import pytest

from pyvmm.vfio import VfioError
from pyvmm.vfio.user import idle_reader
from pyvmm.vfio.user.idle_reader import IdleReader
from tests.unit.vfio.fakes import PATIENCE


def test_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(VfioError, match="watching it: can't start new thread; raise"):
        IdleReader(ours.fileno(), "it", lambda: True)


def test_closing_does_not_wait_for_one_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_reader, "_LONGEST_END", 0.01)
    ours, theirs = socket.socketpair()
    reading, stuck = threading.Event(), threading.Event()

    def handle() -> bool:
        reading.set()
        return not stuck.wait(PATIENCE)

    with ours, theirs:
        reader = IdleReader(ours.fileno(), "it", handle)
        reader.idle()
        theirs.send(b"x")
        assert reading.wait(PATIENCE)
        reader.close()
        assert not stuck.is_set()
        stuck.set()
        while any(thread.name == "it" for thread in threading.enumerate()):
            reader.close()
        reader.close()
