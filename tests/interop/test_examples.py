# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The examples, unchanged, over a vfio-user socket: no kernel VFIO, no hardware, no privilege."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0  # seconds

Serve = Callable[[str], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve("edu")`: a server in a process of its own; tells its socket."""
    servers: list[subprocess.Popen[str]] = []

    def serve(model: str) -> str:
        path = str(tmp_path / model)
        command = [sys.executable, "-m", "pyvmm", "serve", model, "--socket", path]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stderr
        assert "is served" in server.stderr.readline()
        return path

    yield serve
    for server in servers:
        server.terminate()
        server.communicate(timeout=LIMIT)


def run(name: str, *arguments: str, given: str = "") -> tuple[int, str, str]:
    """An example's status, output and errors."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_edu(serve: Serve) -> None:
    path = serve("edu")
    for _ in range(2):  # one client after the other
        status, out, errors = run("edu", path, "--factorial", "6")
        assert (status, errors) == (0, "")
        assert out.splitlines() == [
            f"edu 1.0 at vfio-user server {path}",
            "it is alive",
            "interrupt, because of 0x10",
            "6! = 720",
            "256 bytes by DMA to the device and back: the same",
        ]


def test_nvme(serve: Serve) -> None:
    path = serve("nvme")
    drive = "131072 blocks of 512 bytes"
    for turn in range(2):  # what one client writes, the next one reads
        arguments = ("--write", "5000") if not turn else ("--read", "0", "--blocks", "6000")
        status, out, errors = run("nvme", path, *arguments, given="kept\n")
        assert (status, errors) == (0, "")
        first, *rows = out.splitlines()
        assert first.startswith("pyvmm NVMe controller, serial pyvmm-")
        assert first.endswith(drive)
        assert [row.split()[0] for row in rows] == ["0000271000"] * turn


def test_lspci(serve: Serve) -> None:
    status, out, errors = run("lspci", serve("testdev"), serve("edu"))
    assert (status, errors) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    mappable = "non-prefetchable; can be mapped: 0x4000 to 0xbfff"
    assert f"region 0: memory, 64 KiB, 32-bit, {mappable}" in lines
    assert "region 1: I/O ports, 256 bytes" in lines
    assert "interrupts: INTx 1, MSI 8, MSI-X 64" in lines
    assert "control: 0x003f last_vector=0x3f function_mask- enable-" in lines
    assert "01-23-45-67-89-ab-cd-ef" in lines
    assert any("[1234:11e8]" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("edu", "is no edu (1234:11e8), but 1234:7e57"),
        ("nvme", "is no NVMe drive: its class is ff0000"),
        ("nic", "is neither an 82574L nor an 82576, but 1234:7e57"),
    ],
)
def test_another_device(serve: Serve, name: str, complaint: str) -> None:
    path = serve("testdev")
    status, out, errors = run(name, path)
    assert (status, out) == (1, "")
    assert errors == f"{name}.py: error: vfio-user server {path} {complaint}\n"


@pytest.mark.parametrize("name", ["edu", "nvme", "nic", "lspci"])
def test_a_device_that_is_not_there(name: str, tmp_path: Path) -> None:
    status, out, errors = run(name, str(tmp_path / "nothing"))
    assert (status, out) == (1, "")
    assert errors.startswith(f"{name}.py: error: connecting to vfio-user server {tmp_path}")
    assert errors.endswith("start the server first\n")
    assert len(errors.splitlines()) == 1
    status, _, errors = run(name, "0000:ff:1f.7")
    assert status == 1
    assert errors.startswith(f"{name}.py: error: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", ["edu", "nvme", "nic", "lspci"])
def test_a_reader_that_goes(name: str, unbuffered: str, serve: Serve) -> None:
    """As with `| head`; also without a device, which not all of them can have here."""
    arguments = {"edu": [serve("edu")], "lspci": [serve("testdev")]}.get(name, ["--help"])
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_the_nvme_driver_is_short() -> None:
    lines = (ROOT / "examples" / "nvme.py").read_text().splitlines()
    assert len(lines) < 200
