# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kicks: each one ends a run, whenever it comes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from pyvmm.kvm import KICKED, KvmLimitReached, kick, run
from tests.kvm.kvm_room.conftest import LIMIT, Guest, RunningVcpu

pytestmark = pytest.mark.kvm


def in_background(guest: Guest, last: str) -> RunningVcpu:
    """Run the vCPU on another thread, until its guest is at that instruction, or nearly."""
    guest.real_mode(f"mov $0x500, %dx; out %al, %dx; {last}")
    reached = threading.Event()
    guest.port.on_access = reached.set
    running = guest.run_in_background()
    assert reached.wait(LIMIT)
    return running


@pytest.mark.parametrize("last", ["hlt", "jmp ."])
def test_out_of_the_guest(guest: Guest, last: str) -> None:
    running = in_background(guest, last)
    guest.vcpu.kick()
    assert running.result() is KICKED


def test_before_the_run(guest: Guest) -> None:
    guest.real_mode("mov $0x500, %dx; out %al, %dx; jmp .")
    guest.vcpu.kick()
    guest.vcpu.kick()
    assert guest.run() is KICKED
    assert guest.port.log == [], "the guest ran"


def test_from_a_handler_after_the_access_is_complete(guest: Guest) -> None:
    guest.port.answers = [0x42]
    guest.port.on_access = guest.vcpu.kick
    guest.real_mode("xor %ax, %ax; mov $0x500, %dx; in %dx, %al; jmp .")
    assert guest.run() is KICKED
    assert guest.vcpu.get_regs().rax == 0x42
    assert len(guest.port.log) == 1


def test_the_guest_goes_on_where_it_was(guest: Guest) -> None:
    guest.port.on_access = guest.vcpu.kick
    guest.real_mode("""
        mov $0x500, %dx
        mov $3, %cx
    next:
        mov %cl, %al
        out %al, %dx
        loop next
        out %al, $0xf4
        hlt
    """)
    for _ in range(4):
        assert guest.run() is KICKED
    assert guest.port.written == [3, 2, 1]
    assert len(guest.done.log) == 1


def test_at_any_moment_of_entering_and_leaving(guest: Guest) -> None:
    """Each kick ends a run, from just before it begins to the midst of the guest."""
    rounds = 500
    guest.real_mode("mov $0x500, %dx; again: out %al, %dx; jmp again")
    ready, done = threading.Semaphore(0), threading.Semaphore(0)
    ends = []

    def vcpu_thread() -> None:
        for _ in range(rounds):
            ready.release()
            ends.append(run(guest.vcpu, guest.ports, guest.mmio))
            done.release()

    thread = threading.Thread(target=vcpu_thread)
    thread.start()
    for number in range(rounds):
        assert ready.acquire(timeout=LIMIT)
        for _ in range(number % 50 * 20):  # to and fro over the moment of entry
            pass
        guest.vcpu.kick()
        assert done.acquire(timeout=LIMIT), f"kick {number} was lost"
    thread.join(LIMIT)
    assert all(end is KICKED for end in ends)


def test_a_storm_of_kicks_from_several_threads(guest: Guest) -> None:
    """No kick kills the process, hangs it, or corrupts an access."""
    guest.real_mode("mov $0x500, %dx; xor %eax, %eax; again: out %eax, %dx; inc %eax; jmp again")
    stop = threading.Event()

    def storm() -> None:
        # The wait is for the other threads' sake: they all share one interpreter.
        while not stop.wait(1e-5):
            guest.vcpu.kick()

    threads = [threading.Thread(target=storm) for _ in range(2)]
    for thread in threads:
        thread.start()
    kicked = 0
    while len(guest.port.log) < 300:
        kicked += guest.run() is KICKED
    stop.set()
    for thread in threads:
        thread.join(LIMIT)
    assert kicked
    assert guest.port.written == list(range(len(guest.port.log)))


def test_from_a_python_signal_handler(guest: Guest) -> None:
    """Such as SIGINT's, which may come while the same thread is in a kick."""
    guest.real_mode("mov $0x500, %dx; out %al, %dx; jmp .")
    guest.port.on_access = lambda: os.kill(os.getpid(), signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, lambda *_: guest.vcpu.kick())
    try:
        assert guest.run() is KICKED
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_signal_is_harmless_elsewhere(guest: Guest) -> None:
    guest.vcpu.kick()
    os.kill(os.getpid(), kick.kick_signal())


def test_a_thread_that_has_all_signals_blocked(guest: Guest) -> None:
    """As those have whose process waits for signals on one of them, or by a signalfd."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        running = in_background(guest, "hlt")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    guest.vcpu.kick()
    assert running.result() is KICKED


def test_the_mask_is_as_it_was(guest: Guest) -> None:
    guest.real_mode("jmp .")
    guest.vcpu.kick()
    ours = {kick.kick_signal()}
    for change in (signal.SIG_BLOCK, signal.SIG_UNBLOCK):
        signal.pthread_sigmask(change, ours)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        guest.vcpu.kick()
        assert guest.run() is KICKED
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_signals_that_are_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = kick.kick_signal()
    monkeypatch.setattr(kick, "_number", 0)
    theirs = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in theirs}
    try:
        for number in theirs:
            signal.signal(number, lambda number, _: heard.append(number))
        with pytest.raises(KvmLimitReached, match="leave one free"):
            kick.kick_signal()
        signal.signal(signal.SIGRTMAX - 1, signal.SIG_IGN)
        assert kick.kick_signal() == signal.SIGRTMAX - 1
        os.kill(os.getpid(), signal.SIGRTMAX - 1)
        os.kill(os.getpid(), ours)
    finally:
        for number in theirs:
            signal.signal(number, before[number] or signal.SIG_DFL)
        monkeypatch.undo()
        # What was ours is Python's default now, which would end us.
        monkeypatch.setattr(kick, "_number", 0)
        assert kick.kick_signal() == ours
    assert heard == [ours]


def test_a_vcpu_runs_on_one_thread_and_is_not_closed_meanwhile(guest: Guest) -> None:
    running = in_background(guest, "hlt")
    with pytest.raises(RuntimeError, match="another thread"):
        guest.run()
    with pytest.raises(RuntimeError, match="closed while it runs"):
        guest.vcpu.close()
    guest.vcpu.kick()
    assert running.result() is KICKED


def test_closed_it_does_nothing(guest: Guest) -> None:
    guest.vcpu.close()
    guest.vcpu.kick()
    with pytest.raises(RuntimeError, match="closed"):
        guest.run()


def test_each_vcpu_is_kicked_alone(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(cpus=2)
    guest.real_mode("mov $0x500, %dx; out %al, %dx; hlt")
    halting = threading.Event()
    guest.port.on_access = halting.set
    waiting, halted = guest.run_in_background(1), guest.run_in_background(0)
    assert halting.wait(LIMIT)
    guest.vm.vcpus[1].kick()
    assert waiting.result() is KICKED, "out of the wait for INIT"
    assert halted.is_alive()
    guest.vcpu.kick()
    assert halted.result() is KICKED
