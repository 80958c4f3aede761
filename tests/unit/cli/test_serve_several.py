# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""`pyvmm serve`: several models, inherited sockets, and what a terminal is shown."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pyvmm.cli import activation, exit_codes
from pyvmm.cli.activation import Passed
from pyvmm.cli.serving import ordinal
from pyvmm.vfio import CannotListen
from pyvmm.vfio.listening_socket import ListeningSocket
from pyvmm.vfio.user import Client

LIMIT = 60.0  # seconds, for whatever should take milliseconds
PYVMM = (sys.executable, "-m", "pyvmm")
EDU, TESTDEV = 0x11E81234, 0x7E571234

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*command, ...): a process whose stderr is a pipe, unless told otherwise."""
    started: list[subprocess.Popen[str]] = []

    def make(
        *command: str, stderr: int = subprocess.PIPE, pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm"},
            stderr=stderr,
            pass_fds=pass_fds,
            text=True,
        )
        started.append(process)
        return process

    yield make
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT)
        if process.stderr:
            process.stderr.close()


def serve(start: Start, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return start(*PYVMM, "serve", *arguments, **options)


def identity(client: Client) -> int:
    return int.from_bytes(client.region_read(7, 0, 4), "little")


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    """End it; what it has said that was not read yet."""
    process.send_signal(number)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    return err or ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_at_its_own_path(start: Start, tmp_path: Path, number: int) -> None:
    paths = [str(tmp_path / name) for name in "abc"]
    server = serve(
        start, "-v", "edu", "--socket", paths[0], "testdev", "edu",
        "--socket-path", paths[1], "--socket", paths[2], "-o", "edu.dma_mask=0xff",
    )  # fmt: skip
    assert server.stderr
    lines = [server.stderr.readline() for _ in paths]
    assert [line.split()[1:6] for line in lines] == [
        [model, "is", "served", "at", path + ";"]
        for model, path in zip(("edu", "testdev", "edu"), paths, strict=True)
    ]
    with (
        Client.connect(paths[0], timeout=LIMIT) as one,
        Client.connect(paths[1], timeout=LIMIT) as two,
        Client.connect(paths[2], timeout=LIMIT) as three,
    ):
        assert [identity(client) for client in (one, two, three)] == [EDU, TESTDEV, EDU]
        for _ in range(3):
            one.region_read(0, 0x70, 4)
        said = end(server, number)
    assert not os.listdir(tmp_path)
    assert f"pyvmm: testdev at {paths[1]}: a client has connected\n" in said
    assert f"pyvmm: edu at {paths[2]}: 1 client, 1 read, 0 writes, " in said
    assert f"pyvmm: edu at {paths[0]}: reads of nothing: 3\n" in said
    assert f"pyvmm: edu at {paths[2]}: reads" not in said


def test_if_one_cannot_be_none_is(start: Start, tmp_path: Path) -> None:
    paths = str(tmp_path / "a"), str(tmp_path / "no" / "b")
    server = serve(start, "edu", "testdev", "--socket", paths[0], "--socket", paths[1])
    _, err = server.communicate(timeout=LIMIT)
    assert server.returncode == exit_codes.SOCKET
    assert "make the directory first" in err
    assert not os.listdir(tmp_path)


def test_it_ends_with_the_last_of_its_clients(start: Start) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    fds = [theirs.fileno() for _, theirs in pairs]
    places = [word for fd in fds for word in ("--fd", str(fd))]
    server = serve(start, "edu", "testdev", *places, pass_fds=fds)
    for _, theirs in pairs:
        theirs.close()
    clients = [Client(ours, timeout=LIMIT) for ours, _ in pairs]
    assert [identity(client) for client in clients] == [EDU, TESTDEV]
    clients[0].close()
    assert identity(clients[1]) == TESTDEV
    clients[1].close()
    _, err = server.communicate(timeout=LIMIT)
    assert (server.returncode, err) == (0, "")


def test_an_inherited_socket_that_listens(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "device"
    with ListeningSocket(path) as listening:
        fd = listening.sock.fileno()
        server = serve(start, "edu", "--fd", str(fd), pass_fds=[fd])
        for _ in range(2):
            with Client.connect(path, timeout=LIMIT) as client:
                assert identity(client) == EDU
        end(server)
        assert path.is_socket(), "it is its owner's"


def test_sockets_by_systemd(start: Start, tmp_path: Path) -> None:
    """From 3 on, and by name: LISTEN_PID is the process itself."""
    paths = [tmp_path / "one", tmp_path / "two"]
    with ListeningSocket(paths[0]) as one, ListeningSocket(paths[1]) as two:
        fds = one.sock.fileno(), two.sock.fileno()
        # The shell puts them where they belong, as systemd would.
        command = (
            f"exec 3<&{fds[0]} 4<&{fds[1]}; export LISTEN_FDS=2 LISTEN_FDNAMES=testdev:edu; "
            f"LISTEN_PID=$$ exec {shlex.join(PYVMM)} serve edu testdev"
        )
        server = start("/bin/bash", "-c", command, pass_fds=fds)
        with (
            Client.connect(paths[0], timeout=LIMIT) as first,
            Client.connect(paths[1], timeout=LIMIT) as second,
        ):
            assert (identity(first), identity(second)) == (TESTDEV, EDU)
        end(server)
        assert all(path.is_socket() for path in paths)


def test_what_was_passed() -> None:
    pid = str(os.getpid())
    environment = {"LISTEN_PID": pid, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert activation.offered(environment)
    assert activation.take(environment) == [Passed(3, "a"), Passed(4, "b"), Passed(5, "")]
    assert environment == {"HOME": "/"}, "they are not for our children"
    assert not activation.offered(environment)


@pytest.mark.parametrize(
    ("pid", "count", "why"),
    [
        ("", "1", "give both a number"),
        ("me", "1", "LISTEN_PID='me'"),
        ("1", "1", "with no shell in between"),
        (None, "", "LISTEN_FDS=''"),
        (None, "-1", "LISTEN_FDS='-1'"),
        (None, "³", "LISTEN_FDS='³'"),
    ],
)
def test_what_is_not_for_us(pid: str | None, count: str, why: str) -> None:
    environment = {"LISTEN_PID": str(os.getpid()) if pid is None else pid, "LISTEN_FDS": count}
    with pytest.raises(CannotListen, match=why):
        activation.take(environment)


def test_sockets_go_by_name_or_in_order() -> None:
    passed = [Passed(3, "b"), Passed(4, "a"), Passed(5, "a")]
    assert activation.assign(passed, ["a", "b", "a"]) == [4, 3, 5]
    assert activation.assign(passed, ["a", "b", "c"]) == [3, 4, 5]
    for models in (["a"], ["a"] * 4):
        with pytest.raises(CannotListen, match="one for each"):
            activation.assign(passed, models)


def test_a_table_on_a_terminal(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    path = tmp_path / "device"
    ours, theirs = pty.openpty()
    try:
        server = serve(start, "edu", "--socket", str(path), stderr=theirs)
        os.close(theirs)
        shown = os.read(ours, 4096).decode()
        while "per second" not in shown:
            shown += os.read(ours, 4096).decode()
        with Client.connect(path, timeout=LIMIT) as client:
            for _ in range(5):
                identity(client)
            while "the 1st" not in shown:
                shown += os.read(ours, 4096).decode()
        server.send_signal(signal.SIGINT)
        while "1 client, 5 reads, 0 writes" not in shown:
            shown += os.read(ours, 4096).decode()
        assert "\x1b[?25h" in shown, "the cursor is back"
        assert server.wait(LIMIT) == 0
    finally:
        os.close(ours)


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 112, 122)
    assert [ordinal(number) for number in numbers] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"
    ]  # fmt: skip
