# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ModelProcess: a server of our own that starts, ends, and is always waited for."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.machine import ModelProcessFailed
from pyvmm.machine.model_process import ModelProcess
from pyvmm.vfio.user import Client

PATIENCE = 30.0


@pytest.fixture
def process(no_leaks: None) -> Iterator[ModelProcess]:
    process = ModelProcess("edu", {"dma_mask": 0xFFFF})
    yield process
    process.close()


def test_it_serves_the_model(process: ModelProcess) -> None:
    assert process.ended() == ""
    with Client(process.socket.dup(), timeout=PATIENCE) as client:
        assert client.region_read(7, 0, 4) == bytes.fromhex("3412e811")
    process.socket.close()
    process.close()
    assert process.ended() == f"the process of edu (pid {process.pid}) exited with 0"


def test_it_has_nothing_of_ours(process: ModelProcess) -> None:
    """Neither file descriptors, but for its socket, nor our session."""
    with Client(process.socket.dup(), timeout=PATIENCE) as client:
        assert client.gone is None
        assert os.getsid(process.pid) == process.pid
        links = [os.readlink(entry) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not any("pytest" in link or "memfd" in link for link in links[3:]), links


def test_how_it_ended(process: ModelProcess) -> None:
    os.kill(process.pid, signal.SIGSEGV)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.ended() == (
        f"the process of edu (pid {process.pid}) was ended by signal 11 (Segmentation fault)"
    )
    process.close()
    process.close()


def test_one_that_can_not_serve(no_leaks: None, capfd: pytest.CaptureFixture[str]) -> None:
    process = ModelProcess("edo", {})
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.ended().endswith("exited with 107")
    assert "there is no model 'edo'" in capfd.readouterr().err
    process.close()


def test_one_that_has_to_be_forced(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, it neither sees that we hang up nor that it is asked to end."""
    monkeypatch.setattr("pyvmm.machine.model_process._GRACE", 0.01)
    process = ModelProcess("edu", {})
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    process.close()
    assert process.ended().endswith("was ended by signal 9 (Killed)")


@pytest.fixture
def ignoring_children(no_leaks: None) -> Iterator[None]:
    """SIGCHLD is ignored, as one may inherit it: the kernel doesn't keep an end for us."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_one_whose_end_nobody_tells_of(ignoring_children: None) -> None:
    process = ModelProcess("edu", {})
    assert process.ended() == ""
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)
    for _ in range(2):
        assert process.ended() == f"the process of edu (pid {process.pid}) has ended"
        process.close()


def test_one_that_is_closed_and_nobody_tells_of_it(ignoring_children: None) -> None:
    process = ModelProcess("edu", {})
    process.close()
    assert process.ended() == f"the process of edu (pid {process.pid}) has ended"


def test_one_that_can_not_be_watched_and_nobody_tells_of_it(
    ignoring_children: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.pidfd_open", refuse)
    with pytest.raises(ModelProcessFailed, match="pidfd_open: EAGAIN"):
        ModelProcess("edu", {})


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EAGAIN, "told to fail")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("socket.socketpair", "socketpair"),
        ("os.posix_spawn", f"posix_spawn {sys.executable}"),
        ("os.pidfd_open", "pidfd_open"),
    ],
)
def test_one_that_can_not_be_started(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch, call: str, told: str
) -> None:
    monkeypatch.setattr(call, refuse)
    with pytest.raises(ModelProcessFailed) as failed:
        ModelProcess("edu", {})
    assert str(failed.value) == (
        f"starting a process for edu: {told}: EAGAIN (Resource temporarily unavailable)"
    )


def test_it_is_this_very_pyvmm(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever we are, and whatever else is called pyvmm there."""
    (tmp_path / "pyvmm").mkdir()
    (tmp_path / "pyvmm" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = ModelProcess("edu", {})
    with Client(process.socket.dup(), timeout=PATIENCE) as client:
        assert client.gone is None
    process.close()
