# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VcpuThreads: waiting until no vCPU is in the handler any more that it was in."""

from __future__ import annotations

import threading
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
