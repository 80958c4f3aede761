# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A machine that several threads use, or that is called by what it calls back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from pyvmm.config import VmConfig
from pyvmm.machine import End, Machine, Outcome
from pyvmm.machine.sink import Sink
from pyvmm.models import create
from tests.kvm.between import Between
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.unit.vfio.fakes import PATIENCE, REGION_READ

pytestmark = pytest.mark.kvm


class Called:
    """A sink that does something with the first output, on the vCPU's thread."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do: Callable[[], object] | None = do

    def write(self, _data: bytes) -> None:
        do, self._do = self._do, None
        if do is not None:
            do()

    def close(self) -> None:
        pass


def call_with_output(vm: Machine, do: Callable[[], object]) -> None:
    vm.console.attach(cast(Sink, Called(do)))


def test_close_waits_for_another_close(config: Callable[..., VmConfig], no_leaks: None) -> None:
    vm = Machine(config("hello", cmdline="crash=hang", devices=[{"model": "edu"}]))
    vm.start()
    closing, go_on = threading.Event(), threading.Event()
    undone: list[str] = []

    def slow() -> None:
        closing.set()
        assert go_on.wait(LIMIT)
        undone.append("once")

    vm.hardware.parts.callback(slow)
    seen: list[list[str]] = []

    def close() -> None:
        vm.close()
        seen.append(list(undone))

    closers = [threading.Thread(target=close) for _ in range(4)]
    closers[0].start()
    assert closing.wait(LIMIT)
    for closer in closers[1:]:
        closer.start()
    go_on.set()
    for closer in closers:
        closer.join(LIMIT)
    assert seen == [["once"]] * 4


def test_close_while_another_thread_builds(
    config: Callable[..., VmConfig], no_leaks: None, sockets: Path
) -> None:
    path = sockets / "device"
    with (
        create("edu") as edu,
        Between(path, edu, REGION_READ, Between.fall_silent) as between,
    ):
        vm = Machine(config("hello", devices=[{"socket": str(path), "timeout": 3600}]))
        builder = threading.Thread(target=vm.start)
        builder.start()
        assert between.met.wait(PATIENCE)
        vm.close()
        assert vm.stats() == {}
        builder.join(LIMIT)
        assert not builder.is_alive()


def test_stop_on_a_vcpus_thread_is_a_request(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=spin")
    outcomes: list[Outcome] = []
    call_with_output(vm, lambda: outcomes.append(vm.stop("from within")))
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert (outcome.end, outcome.detail) == (End.STOPPED, "from within")
    assert outcomes == [outcome]


def test_close_on_a_vcpus_thread_is_refused(make: MakeMachine) -> None:
    vm = make("hello", cmdline="crash=spin")
    call_with_output(vm, vm.close)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.INTERNAL
    assert isinstance(outcome.cause, RuntimeError)
    assert "request_stop() there" in str(outcome.cause)


@pytest.mark.parametrize("started", [False, True])
def test_close_on_the_time_limits_thread(
    config: Callable[..., VmConfig], no_leaks: None, started: bool
) -> None:
    """Whoever is told there of the end may close it."""
    errors: list[BaseException] = []
    closed = threading.Event()

    def close(_: Outcome) -> None:
        try:
            vm.close()
        except BaseException as error:
            errors.append(error)
        closed.set()

    vm = Machine(config("hello", cmdline="crash=hang", timeout=0.5), ended=close)
    with vm:
        vm.build()
        if started:
            vm.start()
        assert closed.wait(LIMIT)
        assert errors == []
        assert vm.outcome is not None
        assert vm.outcome.end is End.TIMEOUT


def test_close_by_what_is_closed(config: Callable[..., VmConfig], no_leaks: None) -> None:
    with Machine(config("hello")) as vm:
        vm.build()
        vm.hardware.parts.callback(vm.close)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_no_exception_ends_a_vcpu_alone(make: MakeMachine, error: BaseException) -> None:
    vm = make("hello", cmdline="crash=hang")

    def leave() -> None:
        raise error

    call_with_output(vm, leave)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.INTERNAL
    assert outcome.cause is error


@pytest.mark.parametrize("build", [True, False])
def test_a_closed_machine_does_not_start(
    config: Callable[..., VmConfig], no_leaks: None, build: bool
) -> None:
    vm = Machine(config("hello", devices=[{"model": "edu"}]))
    if build:
        vm.build()
    vm.close()
    with pytest.raises(RuntimeError, match="this one is closed"):
        vm.start()
