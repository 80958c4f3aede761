# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets that come together with each other, with the end, and with the loss of a device."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from pyvmm.config import VmConfig
from pyvmm.machine import End, Machine
from tests.kvm.machine.conftest import LIMIT
from tests.kvm.machine.test_lost_devices import UNTIL_A_RESET, children

pytestmark = [pytest.mark.kvm, pytest.mark.usefixtures("no_leaks")]

Config = Callable[..., VmConfig]

# One resets itself all the time, the other has all its processors at work.
RESETS = ("hello", "reset=cf9")
WORKS = ("storm", "mode=smp n=1000000")
SEEDS = range(6)


def in_threads(*jobs: Callable[[], object]) -> None:
    """Run them at the same time, and wait for all of them."""
    ready = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        ready.wait(LIMIT)
        job()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def press_until_the_end(vm: Machine, pressed: list[bool]) -> Callable[[], None]:
    def press() -> None:
        while vm.outcome is None:
            pressed.append(vm.reset())

    return press


def after(seconds: float, do: Callable[[], object]) -> Callable[[], None]:
    def wait() -> None:
        time.sleep(seconds)
        do()

    return wait


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("guest", "cmdline"), [RESETS, WORKS])
def test_many_hands_on_the_button(config: Config, guest: str, cmdline: str, seed: int) -> None:
    moment = random.Random(seed).uniform(0.2, 0.6)
    with Machine(config(guest, cmdline=cmdline, cpus=3)) as vm:
        vm.start()
        pressed: list[bool] = []
        press = press_until_the_end(vm, pressed)
        in_threads(press, press, press, after(moment, lambda: vm.stop("enough")))
        outcome = vm.stop()
        assert (outcome.end, outcome.detail) == (End.STOPPED, "enough"), vm.console.text
        assert vm.resets >= 1
        assert pressed.count(False) <= 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["stop", "close", "timeout"])
def test_at_the_moment_of_the_end(config: Config, how: str, seed: int) -> None:
    moment = random.Random(seed).uniform(0, 0.3)
    limit = {"timeout": 0.25 + moment} if how == "timeout" else {}
    devices = [{"model": "edu"}, {"model": "testdev", "process": True}]
    guest, cmdline = random.Random(seed).choice([RESETS, WORKS])
    vm = Machine(config(guest, cmdline=cmdline, cpus=2, devices=devices, **limit))
    with vm:
        vm.start()
        press = press_until_the_end(vm, [])
        if how == "timeout":
            press()
        else:
            in_threads(press, after(moment, vm.stop if how == "stop" else vm.close))
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.end is (End.TIMEOUT if how == "timeout" else End.STOPPED)
        assert outcome.device_errors == ()
    assert vm.reset() is False


def test_the_last_reset_that_a_guest_has(config: Config) -> None:
    """The button's don't count, not even those in which the guest's own was on its way."""
    moments = random.Random(0)
    with Machine(config(*RESETS[:1], cmdline=RESETS[1], max_resets=5)) as vm:
        vm.start()
        pressed = 0
        while vm.wait(moments.uniform(0, 0.3)) is None:
            pressed += vm.reset()
        outcome = vm.outcome
        assert outcome is not None
        assert outcome.end is End.RESET
        assert 5 <= vm.resets <= 5 + pressed


@pytest.mark.parametrize("seed", SEEDS)
def test_while_a_device_is_lost(config: Config, seed: int) -> None:
    """The guest goes on, is reset as often as before, and has it back with one of the resets."""
    moment = random.Random(seed).uniform(0, 0.3)
    notices: list[str] = []
    devices = [{"model": "edu", "process": True}, {"model": "testdev"}]
    with Machine(
        config("hello", cmdline="reset=cf9", cpus=2, devices=devices), notices.append
    ) as vm:
        vm.start()
        (pid,) = children()
        in_threads(after(moment, lambda: os.kill(pid, signal.SIGKILL)), vm.reset, vm.reset)
        while "edu is back" not in notices:
            time.sleep(0.01)
        so_far = vm.resets
        assert vm.reset()
        assert vm.resets > so_far
        outcome = vm.stop()
        assert outcome.end is End.STOPPED
        (error,) = outcome.device_errors
        lost = f"{error}; the guest goes on without the device {UNTIL_A_RESET}"
        assert notices == [lost, "edu is back"]


def test_by_a_signal_handler_that_stops_it(config: Config) -> None:
    """Which may find its own thread waiting for a reset, or within one's request."""
    for seed in SEEDS:
        moment = random.Random(seed).uniform(0.05, 0.2)
        guest, cmdline = random.Random(seed).choice([RESETS, WORKS])
        with Machine(config(guest, cmdline=cmdline, cpus=2)) as vm:
            handler = signal.signal(signal.SIGALRM, lambda *_: vm.request_stop("alarm"))
            try:
                vm.start()
                signal.setitimer(signal.ITIMER_REAL, moment)
                while vm.outcome is None:
                    vm.reset()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, handler)
            outcome = vm.wait(LIMIT)
            assert outcome is not None
            assert outcome.detail == "alarm"


def test_output_that_resets(config: Config) -> None:
    """Each character that the guest writes has it reset, on the vCPU's own thread."""
    with Machine(config("hello", cpus=2)) as vm:

        class Sink:
            def write(self, _data: bytes) -> None:
                with suppress(RuntimeError):
                    if vm.resets < 20:
                        vm.reset()

            def close(self) -> None: ...

        vm.console.attach(Sink())
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None
        assert outcome.ok
        assert vm.resets == 20
        assert vm.console.text.startswith("H" * 20 + "Hello")
