# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Population: all pages of guest RAM are there, by several threads, or whoever waits is told."""

from __future__ import annotations

import ctypes
import errno
import mmap
import threading
from collections.abc import Iterator

import pytest

from pyvmm.memory import PRIVATE, SHARED, GuestMemory, GuestMemoryError, OutOfHostMemory
from pyvmm.memory import population as module
from pyvmm.memory.population import Population
from tests.resident import pages_there

SIZE = 64 << 20


@pytest.fixture(params=[PRIVATE, SHARED])
def memory(request: pytest.FixtureRequest) -> Iterator[GuestMemory]:
    with GuestMemory(SIZE, request.param) as memory:
        yield memory


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What madvise() fails with, from the second call on."""
    failures = [0]

    def madvise(address: int, size: int, advice: int) -> int:
        number = failures.pop(0) if len(failures) > 1 else failures[0]
        ctypes.set_errno(number)
        return -1 if number else 0

    monkeypatch.setattr(module, "_madvise", madvise)
    return failures


def test_all_pages_are_there(memory: GuestMemory) -> None:
    assert pages_there(memory) == 0
    with Population(memory.regions, 2) as population:
        assert population.wait()
    assert pages_there(memory) == SIZE // mmap.PAGESIZE


def test_what_is_there_stays_as_it_is(memory: GuestMemory) -> None:
    memory.write(SIZE - 4, b"kept")
    with Population(memory.regions, 2) as population:
        population.wait()
    assert memory.read(SIZE - 4, 4) == b"kept"


def test_several_threads_share_the_work(
    memory: GuestMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    here: set[int] = set()
    calls: list[tuple[int, int]] = []

    def madvise(address: int, size: int, advice: int) -> int:
        if threading.get_ident() not in here:
            here.add(threading.get_ident())
            both.wait(60)
        calls.append((address, size))
        return 0

    monkeypatch.setattr(module, "_madvise", madvise)
    with Population(memory.regions, 2) as population:
        population.wait()
    at = memory.regions[0].host
    for address, size in sorted(calls):
        assert address == at
        at += size
    assert at == memory.regions[0].host + SIZE


def test_one_processor_gains_nothing(memory: GuestMemory) -> None:
    with Population(memory.regions, 1) as population:
        assert not population.wait()
    assert pages_there(memory) == 0


def test_one_processor_does_it_all_the_same(memory: GuestMemory) -> None:
    with Population(memory.regions, 1, even_alone=True) as population:
        assert population.wait()
    assert pages_there(memory) == SIZE // mmap.PAGESIZE


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_kernel_that_cant(memory: GuestMemory, failing: list[int], number: int) -> None:
    failing[:] = [number]
    with Population(memory.regions, 2) as population:
        assert not population.wait()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EFAULT])
def test_a_host_without_so_much(memory: GuestMemory, failing: list[int], number: int) -> None:
    failing[:] = [0, number]
    with (
        Population(memory.regions, 2) as population,
        pytest.raises(OutOfHostMemory, match=r"MADV_POPULATE_WRITE.*less memory"),
    ):
        population.wait()


def test_memory_that_is_broken(memory: GuestMemory, failing: list[int]) -> None:
    failing[:] = [0, errno.EIO]
    with (
        Population(memory.regions, 2) as population,
        pytest.raises(GuestMemoryError, match="EIO"),
    ):
        population.wait()


def test_one_that_is_given_up(memory: GuestMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its threads are at is all that is done still."""
    given_up = threading.Event()
    calls: list[int] = []

    def madvise(address: int, size: int, advice: int) -> int:
        calls.append(address)
        assert given_up.wait(60)
        return 0

    join = Population._join

    def joined(population: Population) -> None:
        given_up.set()
        join(population)

    monkeypatch.setattr(module, "_madvise", madvise)
    monkeypatch.setattr(Population, "_join", joined)
    before = threading.active_count()
    with Population(memory.regions, 2):
        pass
    assert threading.active_count() == before
    assert len(calls) <= 2


def test_no_more_threads_for_us(memory: GuestMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with Population(memory.regions, 4) as population:
        population.wait()
    assert pages_there(memory) == SIZE // mmap.PAGESIZE
