# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The talk with the lab's init, whose part a test plays."""

from __future__ import annotations

import os
import shutil
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
    variables = {"V": argument, "PATH": os.environ["PATH"]}
    done = ran(script(["python3", "-c", show, argument], str(tmp_path), variables))
    assert done.stdout == os.fsencode(argument * 2)


def ran(text: bytes) -> subprocess.CompletedProcess[bytes]:
    """Here env and setpriv stand for the lab's busybox."""
    for applet in ("env", "setpriv"):
        place = shutil.which(applet)
        assert place is not None
        text = text.replace(f"/run/pyvmm-lab/busybox {applet}".encode(), place.encode())
    return subprocess.run(["sh", "-c", os.fsdecode(text)], capture_output=True, check=False)


@pytest.mark.parametrize("name", ["sort", "A=1", "-n", "with space"])
def test_the_first_program_in_path_is_run(tmp_path: Path, name: str) -> None:
    for folder in ("folder", "plain", "first", "second"):
        (tmp_path / folder).mkdir()
    (tmp_path / "folder" / name).mkdir()
    (tmp_path / "plain" / name).touch()
    for folder in ("first", "second"):
        (tmp_path / folder / name).write_text(f"#!/bin/sh\necho {folder} $*\n")
        (tmp_path / folder / name).chmod(0o755)
    path = "nowhere:folder:plain:first:second"
    done = ran(script([name, "x"], str(tmp_path), {"PATH": path}))
    assert done.stdout == b"first x\n"
    path = os.environ["PATH"]
    assert ran(script([f"./second/{name}"], str(tmp_path), {"PATH": path})).stdout == b"second\n"


def test_what_is_not_in_path_is_told(tmp_path: Path) -> None:
    done = ran(script(["sort"], str(tmp_path), {"PATH": str(tmp_path)}))
    assert (done.returncode, done.stderr) == (127, b"sort: not found\n")


@pytest.mark.parametrize(
    ("argv", "environment"),
    [
        ([], {}),
        ([""], {}),
        (["a\0b"], {}),
        (["a"], {"": "x"}),
        (["a"], {"A=B": "x"}),
        (["a"], {"A": "\0"}),
    ],
)
def test_what_no_process_can_be_given(argv: list[str], environment: dict[str, str]) -> None:
    with pytest.raises(LabError):
        script(argv, "/", environment)
