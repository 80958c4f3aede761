# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VcpuThreads: waiting until no vCPU is where it was, and having none in the guest for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyvmm.kvm import KICKED
from pyvmm.machine import vcpu_threads
from pyvmm.machine.vcpu_threads import VcpuThreads
from pyvmm.memory import AddressMap

LIMIT = 30.0


class FakeVcpu:
    """One that is in the guest until it is kicked, and then in a handler until that is over."""

    def __init__(self) -> None:
        self.kicked = threading.Event()
        self.in_handler = threading.Event()
        self.handler_over = threading.Event()

    def kick(self) -> None:
        self.kicked.set()

    def run(self) -> object:
        assert self.kicked.wait(LIMIT)
        self.in_handler.set()
        assert self.handler_over.wait(LIMIT)
        self.kicked.clear()
        return KICKED


def unexpected(what: Any) -> Any:
    raise AssertionError(what)


@pytest.fixture
def vcpus(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(vcpu_threads, "run", lambda vcpu, *_: vcpu.run())
    return [FakeVcpu(), FakeVcpu()]


def make(vcpus: list[Any]) -> VcpuThreads:
    return VcpuThreads(vcpus, AddressMap("ports"), AddressMap("MMIO"), unexpected, unexpected)


def test_settled_when_all_have_left_their_handlers(vcpus: list[Any]) -> None:
    threads = make(vcpus)
    threads.start()
    settled = threading.Event()

    def settle() -> None:
        threads.settle()
        settled.set()

    waiter = threading.Thread(target=settle)
    waiter.start()
    assert vcpus[0].in_handler.wait(LIMIT)
    assert vcpus[1].in_handler.wait(LIMIT)
    vcpus[0].handler_over.set()
    assert not settled.is_set()  # the other one is in it still
    vcpus[1].handler_over.set()
    assert settled.wait(LIMIT)
    waiter.join()
    threads.stop()
    assert threads.join(LIMIT)


def test_settled_when_they_have_ended(vcpus: list[Any]) -> None:
    threads = make(vcpus)
    for vcpu in vcpus:
        vcpu.handler_over.set()
    threads.start()
    threads.stop()
    assert threads.join(LIMIT)
    threads.settle()


def test_settled_before_they_start(vcpus: list[Any]) -> None:
    make(vcpus).settle()


class Guest:
    """vCPUs that run until they are kicked; each run is counted."""

    def __init__(self, count: int) -> None:
        self.running = 0
        self.runs = 0
        self._lock = threading.Lock()
        self.vcpus: list[Any] = [self._Vcpu(self, index) for index in range(count)]

    class _Vcpu:
        def __init__(self, guest: Guest, index: int) -> None:
            self._guest = guest
            self._index = index
            self._kicked = threading.Event()
            self.exit: object = KICKED
            self.handler: Callable[[], None] = lambda: None

        def __str__(self) -> str:
            return f"vCPU {self._index}"

        def kick(self) -> None:
            self._kicked.set()

        def run(self) -> object:
            guest = self._guest
            with guest._lock:
                guest.running += 1
                guest.runs += 1
            self.handler()
            assert self._kicked.wait(LIMIT)
            self._kicked.clear()
            with guest._lock:
                guest.running -= 1
            return self.exit


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.setattr(vcpu_threads, "run", lambda vcpu, *_: vcpu.run())
    return Guest(3)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_none_is_in_the_guest_while_it_is_paused(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    threads.start()
    for _ in range(20):
        with threads.paused(LIMIT) as busy:
            assert busy == []
            runs = guest.runs
            assert guest.running == 0
            for vcpu in guest.vcpus:
                vcpu.kick()
            assert guest.runs == runs
        until(lambda: guest.runs > runs)  # noqa: B023
    threads.stop()
    assert threads.join(LIMIT)


def test_many_that_pause_it_take_turns(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    threads.start()
    inside = 0

    def pause() -> None:
        nonlocal inside
        for _ in range(50):
            with threads.paused(LIMIT) as busy:
                assert busy == []
                inside += 1
                assert (inside, guest.running) == (1, 0)
                inside -= 1

    pausers = [threading.Thread(target=pause) for _ in range(4)]
    for pauser in pausers:
        pauser.start()
    for pauser in pausers:
        pauser.join(LIMIT)
    threads.stop()
    assert threads.join(LIMIT)


def test_who_pauses_it_again_and_again_leaves_the_guest_time(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    threads.start()
    until(lambda: guest.runs == len(guest.vcpus))
    for _ in range(100):
        with threads.paused(LIMIT):
            pass
    assert guest.runs > 10 * len(guest.vcpus)
    threads.stop()
    assert threads.join(LIMIT)


def test_one_that_does_not_come_out_of_a_handler(guest: Guest, no_leaks: None) -> None:
    """Whoever looks is told after a while, and so is one who comes meanwhile."""
    over = threading.Event()
    guest.vcpus[1].handler = lambda: over.wait(LIMIT)
    threads = make(guest.vcpus)
    threads.start()
    with threads.paused(0.05) as busy:
        assert busy == ["vCPU 1"]
        with threads.paused(0.01) as second:
            assert second == ["vCPU 0", "vCPU 1", "vCPU 2"], "it is not this one's turn"
    over.set()
    with threads.paused(LIMIT) as busy:
        assert busy == []
    threads.stop()
    assert threads.join(LIMIT)


def test_a_job_is_done_once_while_none_is_in_the_guest(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    threads.start()
    done: list[tuple[int, bool]] = []
    for count in range(1, 20):
        threads.request(lambda: done.append((guest.running, threads.has_caller)))
        until(lambda: len(done) == count)  # noqa: B023
    assert set(done) == {(0, True)}
    threads.stop()
    assert threads.join(LIMIT)


def test_a_job_and_who_pauses_it_take_turns(guest: Guest, no_leaks: None) -> None:
    """Also where the vCPU that is to do the job waits for its turn."""
    threads = make(guest.vcpus)
    threads.start()
    done: list[str] = []
    for _ in range(20):
        with threads.paused(LIMIT) as busy:
            assert busy == []
            threads.request(lambda: done.append("job"))
            done.append("paused")
        until(lambda: done[-1] == "job")
    assert done == ["paused", "job"] * 20
    threads.stop()
    assert threads.join(LIMIT)


def test_a_vcpu_that_asks_for_a_job_runs_no_further_before_it(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    order: list[str] = []

    def asks() -> None:
        order.append("runs")
        if len(order) == 1:
            threads.request(lambda: order.append("job"))

    guest.vcpus[0].handler = asks
    threads.start()
    until(lambda: len(order) > 2)
    threads.stop()
    assert threads.join(LIMIT)
    assert order[:3] == ["runs", "job", "runs"]
    assert order.count("job") == 1


def test_an_exit_after_which_the_vcpu_runs_again(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, no_leaks: None
) -> None:
    goes_on = iter((True, True, False))
    threads = VcpuThreads(
        guest.vcpus[:1],
        AddressMap("ports"),
        AddressMap("MMIO"),
        lambda _: next(goes_on),
        unexpected,
    )
    guest.vcpus[0].exit = "not a kick"
    threads.start()
    for runs in (1, 2, 3):
        until(lambda: guest.runs == runs)  # noqa: B023
        guest.vcpus[0].kick()
    threads.stop()
    assert threads.join(LIMIT)
    assert guest.runs == 3


@pytest.mark.parametrize("started", [True, False])
def test_stopped_while_it_is_paused(guest: Guest, started: bool, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    if started:
        threads.start()
    with threads.paused(LIMIT):
        threads.stop()
        if not started:
            threads.start()
        for thread in threads._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert not threads.join(0.01), "somebody still looks at the vCPUs"
    assert threads.join(LIMIT)
    assert guest.runs <= len(guest.vcpus)


def test_a_job_that_comes_too_late_is_not_done(guest: Guest, no_leaks: None) -> None:
    threads = make(guest.vcpus)
    threads.start()
    threads.stop()
    threads.request(lambda: unexpected("done"))
    assert threads.join(LIMIT)
