# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The talk with the lab's init, whose part a test plays."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.lab.agent import Agent
from pyvmm.lab.errors import LabEnded, LabError
from pyvmm.lab.job import script

Pair = tuple[Agent, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with Agent(ours) as agent, theirs:
        yield agent, theirs


def test_start(pair: Pair) -> None:
    agent, lab = pair
    lab.sendall(b"ready\nstarted\n")
    agent.ready()
    agent.start(Path("/a path/modules"))
    verb, epoch, seed, modules = lab.recv(1000).decode().rstrip("\n").split(" ", 3)
    assert verb == "start"
    assert epoch.isdigit()
    assert len(seed) == 64
    assert modules == "/a path/modules"


def test_bind(pair: Pair) -> None:
    agent, lab = pair
    lab.sendall(b"bound slot1 0000:02:00.0\nbound slot0 0000:01:00.0 0000:01:00.1\n")
    assert agent.bind("slot0", "0000:00:10.0", 2) == ("0000:01:00.0", "0000:01:00.1")
    assert agent.bind("slot1", "0000:00:11.0", 1) == ("0000:02:00.0",)
    assert lab.recv(1000) == b"bind slot0 0000:00:10.0 2\nbind slot1 0000:00:11.0 1\n"


def test_what_fails_is_told(pair: Pair) -> None:
    agent, lab = pair
    lab.sendall(b"failed slot0 there is no device behind it\n")
    with pytest.raises(LabError, match="no device behind it"):
        agent.bind("slot0", "0000:00:10.0", 1)


def test_the_end(pair: Pair) -> None:
    agent, lab = pair
    lab.close()
    with pytest.raises(LabEnded):
        agent.ready()


def test_requests(pair: Pair) -> None:
    agent, lab = pair
    agent.job("job1", "streams", "feed", b"echo hello\n")
    agent.signal("job1", "42", 15)
    agent.size("job1", 24, 80)
    assert lab.recv(1000) == (
        b"job job1 streams feed 11\necho hello\nsignal 42 15 job1\nsize job1 24 80\n"
    )


@pytest.mark.parametrize(
    "argument", ["", "a b", "it's", '"', "$HOME", "`id`", "a\nb", "\\", "é", "*", "\udcff"]
)
def test_arguments_and_variables_arrive_as_they_are(tmp_path: Path, argument: str) -> None:
    show = "import os, sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1] + os.environ['V']))"
    text = script(["python3", "-c", show, argument], str(tmp_path), {"V": argument})
    # Here env stands for the lab's busybox.
    text = text.replace(b"/run/pyvmm-lab/busybox env", b"env")
    text = text.replace(b"env -i", b'env -i "PATH=$PATH"', 1)
    done = subprocess.run(["sh", "-c", os.fsdecode(text)], capture_output=True, check=True)
    assert done.stdout == os.fsencode(argument * 2)
