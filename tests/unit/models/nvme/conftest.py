# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pyvmm.models.backing import Backing
from pyvmm.models.nvme import Nvme

from .driver import LIMIT, Driver, Queue


@pytest.fixture
def drive() -> Iterator[Driver]:
    """A drive of 1 MiB in memory, still off."""
    with Driver(Nvme(size=1 << 20)) as drive:
        yield drive
        assert not [kind for kind in drive.model.counters if kind.endswith("in the model")]


@pytest.fixture
def queue(drive: Driver) -> Queue:
    """Its first I/O queue, the drive being on."""
    return drive.ready()


class Slow:
    """Flushes that take until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        monkeypatch.setattr(Backing, "flush", self.flush)

    def flush(self) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=LIMIT)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)
