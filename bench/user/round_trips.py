# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What an access to a register in another process takes: vfio-user's messages there and back.

The others exchange messages of the same sizes over the same kind of socket, and look at none.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import perf_counter

from pyvmm.uapi.vfio import VFIO_PCI_BAR0_REGION_INDEX
from pyvmm.vfio.user import Client
from pyvmm.vfio.user.protocol import HEADER_SIZE, REGION_ACCESS

from ..build import ROOT, program
from ..in_lab.contenders import run
from ..measure import Row, at_most_times, take_turns
from ..settings import Settings
from ..vmms import PYVMM
from .echo import ask
from .placement import Placement, on, placements
from .serving import connected, served

PYTHON = "bare Python"
C = "bare C"

_EDU = (str(ROOT / ".venv" / "bin" / "pyvmm"), "serve", "edu", "--fd")
_LIVENESS = 0x04
"""A register of edu's that can be read and written, and does nothing"""
_DATA = bytes(4)
_COUNT = 2000
_WITHOUT_DATA = HEADER_SIZE + REGION_ACCESS.size
_WITH_DATA = _WITHOUT_DATA + len(_DATA)


def rows(settings: Settings) -> Iterator[Row]:
    for placement in placements():
        with ExitStack() as stack:
            with on(placement.answers):
                device = stack.enter_context(served(_EDU))
            yield from _rows(settings, device, placement)


def _rows(settings: Settings, device: Client, placement: Placement) -> Iterator[Row]:
    def read() -> None:
        for _ in range(_COUNT):
            device.region_read(VFIO_PCI_BAR0_REGION_INDEX, _LIVENESS, len(_DATA))

    def write() -> None:
        for _ in range(_COUNT):
            device.region_write(VFIO_PCI_BAR0_REGION_INDEX, _LIVENESS, _DATA)

    for title, access, asked, answered in (
        ("region read of 4 bytes", read, _WITHOUT_DATA, _WITH_DATA),
        ("region write of 4 bytes", write, _WITH_DATA, _WITHOUT_DATA),
    ):
        with ExitStack() as stack:
            with on(placement.answers):
                sock = stack.enter_context(connected(_echo(asked, answered)))
            contenders = {
                PYVMM: _each(access),
                PYTHON: _each(_asking(sock, asked, answered)),
                C: _in_c(asked, answered, placement.answers),
            }
            with on(placement.asks):
                samples = take_turns(contenders, settings.rounds(25), settings.seconds(10))
        goals = at_most_times(1.5, samples, PYVMM, PYTHON)
        yield Row(f"vfio-user: {title}, {placement.title}", "µs", samples, goals)


def _each(exchange: Callable[[], None]) -> Callable[[], float]:
    """Times one of the _COUNT exchanges that it makes, in µs."""

    def measure() -> float:
        start = perf_counter()
        exchange()
        return (perf_counter() - start) / _COUNT * 1e6

    return measure


def _asking(sock: socket.socket, asked: int, answered: int) -> Callable[[], None]:
    return lambda: ask(sock, asked, answered, _COUNT)


def _in_c(asked: int, answered: int, cpu: int) -> Callable[[], float]:
    command = [str(program("ping_pong")), *map(str, (asked, answered, _COUNT, cpu))]
    return lambda: int(run(command)) / _COUNT / 1e3


def _echo(asked: int, answered: int) -> list[str]:
    return [sys.executable, "-m", "bench.user.echo", str(asked), str(answered)]
