# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""`pyvmm serve`: where it listens, what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from tests.kvm.cli.conftest import LIMIT, Start, finish, read_until, run

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


def listening(server: subprocess.Popen[str]) -> None:
    """Wait until it is."""
    assert server.stderr is not None
    assert "is served at" in server.stderr.readline()


def test_a_path_that_is_in_use(start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    listening(server)
    done = run("serve", "testdev", "--socket", path)
    done.refused(exit_codes.SOCKET, f"listening at {path}: another server listens there; stop it")
    assert path.is_socket()
    server.terminate()
    assert finish(server).status == 0


def test_a_stale_socket_is_replaced(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    listening(server)
    server.kill()
    server.wait(LIMIT)
    assert path.is_socket()
    again = start("serve", "edu", "--socket", path)
    listening(again)
    done = run("run", vm("lspci", devices=[{"socket": str(path)}]))
    assert "1234:11e8" in done.out
    again.terminate()
    assert finish(again).status == 0
    assert os.listdir(sockets) == []


def test_a_file_is_not_replaced(sockets: Path) -> None:
    path = sockets / "device"
    path.write_text("precious")
    done = run("serve", "edu", "--socket", path)
    done.refused(exit_codes.SOCKET, f"listening at {path}: ", "no socket; choose another path")
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(sockets: Path) -> None:
    done = run("serve", "edu", "--socket", sockets / "no" / "device")
    done.refused(exit_codes.SOCKET, "ENOENT", "make the directory first")


def test_a_path_that_is_too_long(sockets: Path) -> None:
    done = run("serve", "edu", "--socket", sockets / ("x" * 120))
    done.refused(exit_codes.SOCKET, "ENAMETOOLONG")
    assert os.listdir(sockets) == []


def test_a_model_that_there_is_not(sockets: Path) -> None:
    done = run("serve", "edo", "--socket", sockets / "device")
    done.refused(exit_codes.BAD_MODEL, "did you mean 'edu'")
    done = run("serve", "edu", "--option", "dma_mask=wide", "--socket", sockets / "device")
    done.refused(exit_codes.BAD_MODEL, "option dma_mask: expected a number")
    assert os.listdir(sockets) == []


def test_an_inherited_socket_that_is_none() -> None:
    done = run("serve", "edu", "--fd", "77")
    done.refused(exit_codes.SOCKET, "fd 77: ", "EBADF", "an open UNIX stream socket")
    with open(os.devnull) as file:
        done = run("serve", "edu", "--fd", str(file.fileno()), pass_fds=[file.fileno()])
    done.refused(exit_codes.SOCKET, "ENOTSOCK", "an open UNIX stream socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        done = run("serve", "edu", "--fd", str(sock.fileno()), pass_fds=[sock.fileno()])
    done.refused(exit_codes.SOCKET, "ENOTCONN", "an open UNIX stream socket")


def test_an_inherited_socket_of_another_kind() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sock,
    ):
        done = run("serve", "edu", "--fd", str(sock.fileno()), pass_fds=[sock.fileno()])
    done.refused(exit_codes.SOCKET, "an open UNIX stream socket")


def test_an_inherited_socket_whose_client_goes(start: Start) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = start("serve", "edu", "--fd", str(theirs.fileno()), pass_fds=[theirs.fileno()])
    assert finish(server) == (0, "", "")


def test_one_client_at_a_time(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    listening(server)
    first = start("run", vm(cmdline="echo", devices=[{"socket": str(path)}]))
    read_until(first, "q quits")
    second = run("run", vm(devices=[{"socket": str(path), "timeout": 0.2}]))
    second.refused(
        exit_codes.DEVICE_SILENT, "within 0.2 s; it may be serving another client, or need"
    )
    first.communicate("q", timeout=LIMIT)
    assert first.returncode == 0
    server.terminate()
    assert finish(server).status == 0


def test_clients_that_come_and_go_are_told_when_asked_for(
    vm: Vm, start: Start, sockets: Path
) -> None:
    path = sockets / "device"
    server = start("serve", "-v", "edu", "--socket", path)
    listening(server)
    assert run("run", vm("lspci", devices=[{"socket": str(path)}])).status == 0
    assert server.stderr is not None
    assert server.stderr.readline() == "pyvmm: a client has connected\n"
    assert server.stderr.readline().startswith("pyvmm: the client is gone: ")
    server.terminate()
    assert finish(server).status == 0


def test_a_client_that_speaks_something_else_is_always_told(start: Start, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", "edu", "--socket", path)
    listening(server)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert server.stderr is not None
        assert server.stderr.readline().startswith("pyvmm: the client is gone: ")
    server.terminate()
    assert finish(server).status == 0
