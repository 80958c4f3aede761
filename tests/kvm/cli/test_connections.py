# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm run with its serial line and monitor elsewhere: ptys, sockets, logs; and what is left."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from tests.kvm.cli.conftest import LIMIT, Start, finish, read_until, run

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


def connect(path: Path) -> socket.socket:
    """Connect as soon as it listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT)
        try:
            client.connect(str(path))
            return client
        except OSError:
            client.close()
            assert time.monotonic() < deadline
            time.sleep(0.01)


def expect(fd: int | socket.socket, text: bytes) -> bytes:
    number = fd if isinstance(fd, int) else fd.fileno()
    got = b""
    while text not in got:
        assert select.select([number], [], [], LIMIT)[0], f"silence after {got!r}"
        more = os.read(number, 4096)
        assert more, f"it ended after {got!r}"
        got += more
    return got


def test_a_socket(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "serial"
    config = vm(cmdline="echo", serial=f"unix:{path}", log=str(sockets / "log"))
    pyvmm = start("run", config)
    while not (sockets / "log").exists() or b"q quits" not in (sockets / "log").read_bytes():
        time.sleep(0.01)
    for text in (b"one\x01x", b"two\xc3\xa4"):
        with closing(connect(path)) as client:
            client.sendall(text)
            expect(client, text)
    with closing(connect(path)) as client:
        client.sendall(b"q")
        assert expect(client, b"PASS\r\n").endswith(b"echo: done\r\nPASS\r\n")
        assert finish(pyvmm) == (0, "", "")
        assert client.recv(1) == b"", "it has hung up"
    log = (sockets / "log").read_bytes()
    assert b"q quits\r\none\x01xtwo\xc3\xa4\r\necho: done\r\nPASS\r\n" in log
    assert sorted(os.listdir(sockets)) == ["log"]


def test_a_pty(vm: Vm, start: Start) -> None:
    pyvmm = start("run", vm(cmdline="echo", serial="pty"))
    assert pyvmm.stderr is not None
    told = pyvmm.stderr.readline()
    assert told.startswith("pyvmm: the serial line is at /dev/pts/")
    fd = os.open(told.split()[-1], os.O_RDWR | os.O_NOCTTY)
    expect(fd, b"q quits\r\n")
    os.write(fd, b"abc\x03\x04")
    expect(fd, b"abc\x03\x04")
    os.close(fd)
    fd = os.open(told.split()[-1], os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"defq")
    expect(fd, b"def\r\necho: done\r\nPASS\r\n")
    os.close(fd)
    assert finish(pyvmm) == (0, "", "")
    assert not os.path.exists(told.split()[-1])


def test_a_log_besides(vm: Vm, tmp_path: Path) -> None:
    done = run("run", vm(log=str(tmp_path / "log")))
    assert done.out.endswith("PASS\n")
    assert (tmp_path / "log").read_text().splitlines() == done.out.splitlines()


def test_the_monitor_at_a_socket(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "monitor"
    config = vm(cmdline="echo", cpus=2, devices=[{"model": "edu"}], monitor=f"unix:{path}")
    pyvmm = start("run", config)
    read_until(pyvmm, "q quits")
    with closing(connect(path)) as client:
        expect(client, b"(pyvmm) ")
        for command, part in (
            (b"status", b"2 vCPUs, 64 MiB of RAM\nhas been running for "),
            (b"devices", b"00:01.0 edu, a model in this process\n"),
            (b"exits", b"\n  exits  "),
            (b"vcpus", b"\nvCPU 1 has never been started\n"),
            (b"reset", b"the guest is being reset\n"),
        ):
            client.sendall(command + b"\n")
            assert part in expect(client, b"(pyvmm) ")
        read_until(pyvmm, "q quits")
        client.sendall(b"quit\n")
        expect(client, b"the run ends\n")
        done = finish(pyvmm)
    assert (done.status, done.err) == (0, "pyvmm: quit by the monitor\n")
    assert os.listdir(sockets) == []


def test_both_at_once_and_a_client_that_never_reads(vm: Vm, start: Start, sockets: Path) -> None:
    """The guest's own end comes all the same, and the exit status is its. The loss is told."""
    config = vm(
        "storm",
        cmdline="mode=pio n=1000",
        serial=f"unix:{sockets}/serial",
        monitor=f"unix:{sockets}/monitor",
    )
    pyvmm = start("run", config)
    with closing(connect(sockets / "serial")), closing(connect(sockets / "monitor")) as monitor:
        monitor.sendall(b"help\n" * 10_000)
        done = finish(pyvmm)
    assert done.status == 0
    for line in done.err.splitlines():
        assert re.fullmatch(r"pyvmm: \d+ bytes of .* are lost: the client at /.*", line)
    assert os.listdir(sockets) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal(vm: Vm, start: Start, sockets: Path, number: signal.Signals) -> None:
    paths = {"serial": f"unix:{sockets}/serial", "monitor": f"unix:{sockets}/monitor"}
    pyvmm = start("run", vm(cmdline="echo", **paths))
    with closing(connect(sockets / "serial")) as client, closing(connect(sockets / "monitor")):
        client.sendall(b"x" * 64)
        expect(client, b"x")
        pyvmm.send_signal(number)
        assert finish(pyvmm).status == 128 + number
    assert os.listdir(sockets) == []


def test_after_it_was_killed(vm: Vm, start: Start, sockets: Path) -> None:
    """The files that it could not remove are in nobody's way."""
    config = vm(cmdline="echo", serial=f"unix:{sockets}/serial", monitor=f"unix:{sockets}/monitor")
    for _ in range(2):
        pyvmm = start("run", config)
        with closing(connect(sockets / "serial")) as client:
            client.sendall(b"x" * 64)
            expect(client, b"x")
            pyvmm.kill()
            pyvmm.wait(LIMIT)
    assert sorted(os.listdir(sockets)) == ["monitor", "serial"]


def test_places_that_can_not_be(vm: Vm, sockets: Path) -> None:
    (sockets / "file").touch()
    taken = f"unix:{sockets}/file"
    for keys in ({"serial": taken}, {"monitor": taken, "serial": f"unix:{sockets}/serial"}):
        run("run", vm(**keys)).refused(exit_codes.SOCKET, "there is a file that is no socket")
    run("run", vm(log="/no/such/folder/log")).refused(exit_codes.HOST_CALL, "ENOENT")
    assert os.listdir(sockets) == ["file"]


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"serial": "unix:"}, "serial: expected stdio, none, pty, unix:PATH or the path of a file"),
        ({"monitor": "/tmp/m"}, "monitor: expected unix:PATH, got '/tmp/m'"),
        ({"serial": "unix:a", "monitor": "unix:a"}, "monitor: expected a path of its own"),
        ({"serial": "a", "log": "a"}, "log: expected a path of its own"),
    ],
)
def test_configs_that_are_wrong(vm: Vm, keys: dict[str, object], part: str) -> None:
    run("run", vm(**keys)).refused(exit_codes.CONFIG, part)


def test_set_up_that_fails_leaves_nothing(vm: Vm, sockets: Path) -> None:
    config = vm(
        kernel="/no/kernel", serial=f"unix:{sockets}/serial", monitor=f"unix:{sockets}/monitor"
    )
    run("run", config).refused(exit_codes.BAD_IMAGE)
    assert os.listdir(sockets) == []
