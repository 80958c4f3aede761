# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices in other processes: that what is measured of them is there to be measured."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from bench.errors import BenchError, Skipped
from bench.measure import Row
from bench.settings import Settings
from bench.user import dma, drive, echo, round_trips, section, serving
from bench.user.placement import on, placements

QUICK = Settings(quick=True)


def one_turn(contenders: Mapping[str, Callable[[], float]], *_: object) -> dict[str, list[float]]:
    return {name: [contender()] for name, contender in contenders.items()}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trips, "take_turns", one_turn)
    monkeypatch.setattr(round_trips, "_COUNT", 20)
    monkeypatch.setattr(dma, "take_turns", one_turn)
    monkeypatch.setattr(dma, "_MOVED", 1 << 20)


def test_round_trips_are_measured_beside_bare_ones() -> None:
    rows = list(round_trips.rows(QUICK))
    assert [row.title for row in rows] == [
        f"vfio-user: region {access} of 4 bytes, {placement.title}"
        for placement in placements()
        for access in ("read", "write")
    ]
    for row in rows:
        assert list(row.samples) == ["pyvmm", round_trips.PYTHON, round_trips.C]
        assert all(values[0] > 0 for values in row.samples.values())
        assert len(row.goals) == 1


def test_who_is_on_one_processor_is_there_alone_for_a_while() -> None:
    before = os.sched_getaffinity(0)
    for placement in placements():
        with on(placement.answers):
            assert os.sched_getaffinity(0) == {placement.answers}
            started = subprocess.run(
                [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert started.stdout.split() == [str(placement.answers)]
    assert os.sched_getaffinity(0) == before


def test_dma_is_measured_both_ways_and_by_both_means() -> None:
    rows = list(dma.rows(QUICK))
    assert len({row.title for row in rows}) == len(rows) == 8
    for row in rows:
        assert list(row.samples) == ["pyvmm", dma.MEMCPY]
        assert all(values[0] > 0 for values in row.samples.values())


def test_dma_that_does_not_happen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dma, "PCI_COMMAND_MASTER", 0)
    monkeypatch.setattr(dma, "PATIENCE", 0.5)
    with pytest.raises(BenchError, match="don't end"):
        list(dma.rows(QUICK))


def test_a_server_that_fails_is_an_error() -> None:
    with (
        pytest.raises(BenchError, match="hung up"),
        serving.served([sys.executable, "-c", "pass", "fake server"]),
    ):
        pass


def test_an_echo_answers_with_its_own_size() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=echo.answer, args=(theirs, 3, 5))
        thread.start()
        echo.ask(ours, 3, 5, 2)
        ours.send(b"abc")
        assert ours.recv(100) == bytes(5)
        ours.shutdown(socket.SHUT_WR)
        thread.join(10)
        assert not thread.is_alive()


def test_without_a_lab_there_is_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("row", "s", {"pyvmm": [1.0]})

    def skipped(_: Settings) -> Iterator[Row]:
        raise Skipped("no lab")
        yield row

    monkeypatch.setattr(round_trips, "rows", lambda _: iter([row]))
    monkeypatch.setattr(dma, "rows", lambda _: iter([row]))
    monkeypatch.setattr(drive, "rows", skipped)
    rows = section.rows(QUICK)
    assert [next(rows), next(rows)] == [row, row]
    with pytest.raises(Skipped):
        next(rows)
