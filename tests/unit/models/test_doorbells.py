# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbells rung by eventfd: over resets, stops, and from one client to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.models import Bar, Identity, Model
from pyvmm.vfio import EventFd, MigrationState
from pyvmm.vfio.user import Client, Server
from tests.unit.vfio.fakes import PATIENCE, wait_until


class Bells(Model):
    """Notes each call with how often it was rung."""

    identity = Identity(0x1234, 0x5678, class_code=0xFF0000)
    bar0 = Bar(0, 0x1000)
    FIRST = bar0.doorbell(0x100)
    SECOND = bar0.doorbell(0x104)

    def __init__(self) -> None:
        super().__init__("bells")
        self.calls: list[tuple[int, int]] = []

    @FIRST.on_ring
    def first(self, times: int) -> None:
        self.calls.append((1, times))

    @SECOND.on_ring
    def second(self, times: int) -> None:
        self.calls.append((2, times))

    def on_reset(self) -> None:
        self.calls.clear()

    def rung(self) -> int:
        return sum(times for _, times in self.calls)


@pytest.fixture
def bells() -> Iterator[Bells]:
    with Bells() as bells:
        yield bells


def settle(model: Model) -> None:
    """Wait until its event loop has looked at all eventfds signalled before this."""
    for _ in range(2):  # it looks at eventfds after its timers
        seen = threading.Event()
        model._activity.events.call_later(0, seen.set)
        assert seen.wait(PATIENCE)


@contextmanager
def held_up(model: Model) -> Iterator[None]:
    """Its event loop is at something else that takes its time."""
    begun, go_on = threading.Event(), threading.Event()

    def take_long() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    model._activity.events.call_later(0, take_long)
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


def test_what_was_rung_before_a_reset_is_over_with_it(bells: Bells) -> None:
    first, _ = bells.ioeventfds(0)
    for _ in range(20):
        reset = threading.Thread(target=bells.reset)
        with bells.lock:
            os.eventfd_write(first.fd, 1)
            reset.start()
        reset.join(PATIENCE)
        settle(bells)
        assert not bells.calls


@pytest.mark.parametrize("revoked", [False, True])
def test_the_same_while_the_event_loop_is_held_up(bells: Bells, revoked: bool) -> None:
    first, _ = bells.ioeventfds(0)
    with held_up(bells):
        os.eventfd_write(first.fd, 1)
        if revoked:
            bells.revoke_ioeventfds()
        bells.reset()
        if not revoked:
            os.eventfd_write(first.fd, 2)
    settle(bells)
    assert bells.calls == ([] if revoked else [(1, 2)])


def test_what_was_rung_before_a_stop_has_been_acted_on(bells: Bells) -> None:
    """For it is what the registers say that is saved."""
    first, _ = bells.ioeventfds(0)
    with held_up(bells):
        os.eventfd_write(first.fd, 3)
        bells.migration.set_state(MigrationState.STOP)
        assert bells.calls == [(1, 3)]
    settle(bells)
    bells.migration.set_state(MigrationState.RUNNING)
    assert bells.calls == [(1, 3)]


def test_while_it_is_stopped_rings_are_added_up(bells: Bells) -> None:
    first, second = bells.ioeventfds(0)
    bells.migration.set_state(MigrationState.STOP)
    for _ in range(50):
        for bell in (first, second):
            os.eventfd_write(bell.fd, 3)
        settle(bells)
    assert not bells.calls
    assert len(bells._activity._held) == 2
    bells.migration.set_state(MigrationState.RUNNING)
    assert bells.calls == [(1, 150), (2, 150)]
    bells.migration.set_state(MigrationState.STOP)
    os.eventfd_write(second.fd, 1)
    settle(bells)
    bells.migration.set_state(MigrationState.RUNNING)
    assert bells.calls[2:] == [(2, 1)]


def test_a_reset_forgets_what_was_rung_while_it_was_stopped(bells: Bells) -> None:
    first, _ = bells.ioeventfds(0)
    bells.migration.set_state(MigrationState.STOP)
    os.eventfd_write(first.fd, 5)
    settle(bells)
    bells.reset()
    assert not bells.calls
    bells.migration.set_state(MigrationState.STOP)
    os.eventfd_write(first.fd, 2)
    settle(bells)
    bells.migration.set_state(MigrationState.RUNNING)
    assert bells.calls == [(1, 2)]


def test_a_clients_doorbells_ring_no_other_clients_device(bells: Bells, tmp_path: Path) -> None:
    path = tmp_path / "bells.sock"
    with Server.listen(bells, path, timeout=PATIENCE) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client.connect(path, timeout=PATIENCE) as client:
                first, _ = client.ioeventfds(0)
                kept = EventFd.from_fd(first.fd)
                kept.signal()
                wait_until(lambda: bells.rung() == 1)
            with kept, Client.connect(path, timeout=PATIENCE) as client:
                first, _ = client.ioeventfds(0)
                kept.signal()
                settle(bells)
                assert not bells.calls
                assert kept.read() == 1  # nobody else reads it
                os.eventfd_write(first.fd, 1)
                wait_until(lambda: bells.rung() == 1)
                assert not kept.pending()
        finally:
            server.stop()
            thread.join(PATIENCE)


def test_doorbells_that_were_revoked_are_made_anew(bells: Bells) -> None:
    bells.revoke_ioeventfds()
    first, _ = bells.ioeventfds(0)
    with EventFd.from_fd(first.fd) as kept:
        bells.revoke_ioeventfds()
        again, _ = bells.ioeventfds(0)
        kept.signal()
        os.eventfd_write(again.fd, 4)
        wait_until(lambda: bells.rung() == 4)
        assert kept.read() == 1
