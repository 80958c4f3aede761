# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The process of a lab: it ends with its owner, however that ends, and tells what it said."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from pyvmm.lab.errors import LabError, LabSilent
from pyvmm.lab.process import QemuProcess

FOREVER = ["sleep", "1000"]

PARENT = """
import sys, threading
from pyvmm.lab.process import QemuProcess

process = QemuProcess(["sleep", "1000"], {}, ())
print(process.pid, flush=True)
sys.stdin.read()
"""


def ends(pid: int) -> bool:
    """Whether the process is gone, or goes, within a generous time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def test_it_dies_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        assert ends(pid)


def test_it_outlives_the_thread_that_made_it() -> None:
    made: list[QemuProcess] = []
    thread = threading.Thread(target=lambda: made.append(QemuProcess(FOREVER, {}, ())))
    thread.start()
    thread.join()
    with made[0] as process:
        os.kill(process.pid, 0)
    assert ends(process.pid)


def test_close_ends_it_and_can_be_called_again() -> None:
    process = QemuProcess(FOREVER, {}, ())
    process.close()
    process.close()
    assert ends(process.pid)


def test_ctrl_c_is_not_for_it() -> None:
    with QemuProcess(FOREVER, {}, ()) as process:
        assert os.getpgid(process.pid) != os.getpgrp()


def test_it_has_the_descriptors_and_the_environment() -> None:
    reader, writer = os.pipe()
    script = f"echo $LAB_TEST >/proc/self/fd/{writer}"
    with QemuProcess(["sh", "-c", script], {"LAB_TEST": "hello"}, (writer,)):
        assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo wrong option >&2; exit 1", "ended with status 1"), ("kill -ABRT $$", "SIGABRT")],
)
def test_last_words(script: str, told: str) -> None:
    with QemuProcess(["sh", "-c", script], {}, ()) as process:
        process.wait(20)
        words = process.last_words()
    assert told in words[-1]
    assert ("wrong option" in words) == ("wrong" in script)


def test_waiting_has_an_end() -> None:
    with QemuProcess(FOREVER, {}, ()) as process, pytest.raises(LabSilent):
        process.wait(0)


def test_no_such_program() -> None:
    with pytest.raises(LabError, match="ENOENT"):
        QemuProcess(["/nonexistent/qemu"], {}, ())


def test_no_signal_handler_of_ours_is_left() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    QemuProcess(["true"], {}, ()).close()
    assert signal.getsignal(signal.SIGCHLD) is before
