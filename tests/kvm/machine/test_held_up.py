# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Servers that keep whoever calls them: no stop and no time limit waits for them.

Here they never answer, and may take an hour for it. One that always answers just in time, and is
asked often enough, is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.config import VmConfig
from pyvmm.machine import End, Machine, MachineStopped
from pyvmm.models import create
from tests.kvm.between import Between
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_UNMAP,
    GET_INFO,
    GET_REGION_INFO,
    PATIENCE,
    REGION_READ,
    RESET,
    SET_IRQS,
    VERSION,
)

pytestmark = pytest.mark.kvm

HOUR = 3600
STORM = "mode=mmio n=400"


@contextmanager
def silent(path: Path, command: int, after: int = 1) -> Iterator[Between]:
    with (
        create("edu") as edu,
        Between(path, edu, command, Between.fall_silent, after=after) as between,
    ):
        yield between


def devices(path: Path) -> list[dict[str, object]]:
    return [{"socket": str(path), "timeout": HOUR}]


def test_a_vcpu_in_a_handler(make: MakeMachine, sockets: Path) -> None:
    path = sockets / "device"
    notices: list[str] = []
    with silent(path, REGION_READ, after=200) as between:
        vm = make("storm", notices.append, cmdline=STORM, devices=devices(path))
        vm.start()
        assert between.met.wait(PATIENCE)
        outcome = vm.stop("enough")
        assert (outcome.end, outcome.detail) == (End.STOPPED, "enough")
        # That we have hung up on the server is no loss of the guest's.
        assert outcome.device_errors == ()
        (notice,) = notices
        assert "keeps a vCPU 1 s after the end of the run" in notice
        vm.close()


def test_a_vcpu_in_a_handler_at_the_time_limit(make: MakeMachine, sockets: Path) -> None:
    path = sockets / "device"
    with silent(path, REGION_READ, after=200):
        vm = make("storm", cmdline=STORM, devices=devices(path), timeout=2)
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.end is End.TIMEOUT
        vm.close()


STARTING = [VERSION, GET_INFO, DMA_MAP, GET_REGION_INFO, REGION_READ, RESET, SET_IRQS]


@pytest.mark.parametrize("command", STARTING)
def test_starting_within_the_time_limit(make: MakeMachine, sockets: Path, command: int) -> None:
    path = sockets / "device"
    with silent(path, command):
        vm = make("hello", devices=devices(path), timeout=0.5)
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert (outcome.end, outcome.report) == (End.TIMEOUT, "")
        assert outcome.detail == "the guest is not built within 0.5 s"
        assert outcome.device_errors == ()


@pytest.mark.parametrize("command", STARTING)
def test_starting_can_be_stopped(make: MakeMachine, sockets: Path, command: int) -> None:
    path = sockets / "device"
    with silent(path, command) as between:
        vm = make("hello", devices=devices(path))

        def stop() -> None:
            assert between.met.wait(PATIENCE)
            vm.request_stop("changed my mind")

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(MachineStopped, match="before it was built: changed my mind"):
            vm.build()
        stopper.join(LIMIT)
        assert vm.outcome is not None
        assert vm.outcome.end is End.STOPPED
        assert vm.stop() is vm.outcome


def test_closing(config: Callable[..., VmConfig], no_leaks: None, sockets: Path) -> None:
    path = sockets / "device"
    with silent(path, DMA_UNMAP) as between:
        with Machine(config("hello", cmdline="crash=hang", devices=devices(path))) as vm:
            vm.start()
            vm.console.expect("command line", LIMIT)
        assert between.met.is_set()
