# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices that hold pyvmm up: time limits and signals end it all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from pyvmm.models import create
from pyvmm.vfio import DeviceSilent
from pyvmm.vfio.user import Client
from tests.kvm.between import Between
from tests.kvm.cli.conftest import LIMIT, Start, finish, read_until, run
from tests.unit.vfio.fakes import DMA_UNMAP, PATIENCE, REGION_READ, RESET

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


@contextmanager
def silent(path: Path, command: int, after: int = 1) -> Iterator[Between]:
    with (
        create("edu") as edu,
        Between(path, edu, command, Between.fall_silent, after=after) as between,
    ):
        yield between


def devices(path: Path) -> list[dict[str, object]]:
    return [{"socket": str(path), "timeout": 3600}]


def test_the_time_limit_covers_the_start(vm: Vm, sockets: Path) -> None:
    path = sockets / "device"
    with silent(path, RESET):
        done = run("run", vm(devices=devices(path), timeout=1))
    assert done == (
        exit_codes.TIMEOUT,
        "",
        "pyvmm: error: the guest is not built within 1 s\n",
    )


def test_a_signal_while_the_guest_waits_for_its_device(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    config = vm("storm", cmdline="mode=mmio n=400", devices=devices(path))
    with silent(path, REGION_READ, after=200) as between:
        pyvmm = start("run", config)
        assert between.met.wait(PATIENCE)
        pyvmm.send_signal(signal.SIGTERM)
        done = finish(pyvmm)
    held, said = done.err.splitlines()
    assert "keeps a vCPU" in held
    assert said == "pyvmm: SIGTERM"
    assert done.status == 128 + signal.SIGTERM


def test_a_signal_while_it_is_taken_back(vm: Vm, start: Start, sockets: Path) -> None:
    path = sockets / "device"
    with silent(path, DMA_UNMAP):
        pyvmm = start("run", vm(cmdline="crash=hang", devices=devices(path)))
        read_until(pyvmm, "command line")
        pyvmm.send_signal(signal.SIGINT)
        done = finish(pyvmm)
    assert (done.status, done.err) == (128 + signal.SIGINT, "pyvmm: SIGINT\n")


# pyvmm with a model in this process, a read of whose registers never ends.
STUCK_MODEL = """
import sys, threading
from pyvmm.cli import watchdog
from pyvmm.cli.main import main
from pyvmm.models.edu import Edu

watchdog.PATIENCE = 0.5
read = Edu.region_read

def region_read(self, index, offset, size):
    if index == 0:
        print("stuck", flush=True)
        threading.Event().wait()
    return read(self, index, offset, size)

Edu.region_read = region_read
sys.exit(main(sys.argv[1:]))
"""


def test_a_model_that_never_returns(vm: Vm) -> None:
    config = vm("edu", devices=[{"model": "edu"}], serial="none")
    pyvmm = subprocess.Popen(
        [sys.executable, "-c", STUCK_MODEL, "run", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pyvmm:
        read_until(pyvmm, "stuck")
        pyvmm.terminate()
        done = finish(pyvmm)
    assert done.status == 128 + signal.SIGTERM
    assert done.err.startswith("pyvmm: error: SIGTERM; ending in order takes more than 0.5 s")
    assert "vCPU 0" in done.err
    assert done.err.count("\n") == 1


def test_a_model_that_never_returns_to_its_server(sockets: Path) -> None:
    path = sockets / "device"
    server = subprocess.Popen(
        [sys.executable, "-c", STUCK_MODEL, "serve", "edu", "--socket", path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stderr is not None
        assert "is served" in server.stderr.readline()
        with Client.connect(path, timeout=1) as client, pytest.raises(DeviceSilent):
            client.region_read(0, 0, 4)
        server.terminate()
        said = server.stderr.read()
        assert server.wait(LIMIT) == 128 + signal.SIGTERM
    assert said.startswith("pyvmm: error: SIGTERM; ending in order takes more than 0.5 s")
