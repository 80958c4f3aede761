# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts past the VMM: eventfd, irqfd, MSI, the guest's handler, ioeventfd, eventfd.

A program in C, the same for every VMM, writes to the first eventfd, waits for the second, and
measures the time between. If any of pyvmm's Python were on the way, it would show.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from pyvmm.config import parse
from pyvmm.machine import Machine

from . import build, vmms
from .errors import BenchError
from .measure import Row, at_most_times, take_turns
from .settings import Settings
from .vmms import C_LOOP, PYVMM

COUNT = 3000
PORT = 0xE9
VECTOR = 0x40
_MSI_ADDRESS = 0xFEE0_0000  # the local APIC with id 0
_SAME = 1.1  # what noise may make of 1


def rows(settings: Settings) -> Iterator[Row]:
    samples = take_turns(
        {PYVMM: _pyvmm, C_LOOP: _c_loop},
        settings.rounds(15),
        settings.seconds(15),
    )
    goals = at_most_times(_SAME, samples, PYVMM, C_LOOP)
    yield Row("eventfd, irqfd, MSI handler, ioeventfd", "µs", samples, goals)


def _pyvmm() -> float:
    config = parse({"firmware": str(_guest()), "memory": vmms.MEMORY, "serial": "none"})
    with ExitStack() as stack:
        # Blocking ones, unlike pyvmm's own: the timer waits in read().
        signal, answer = os.eventfd(0), os.eventfd(0)
        stack.callback(os.close, signal)
        stack.callback(os.close, answer)
        machine = stack.enter_context(Machine(config))
        machine.start()
        vm = machine.vm
        vm.ioeventfd(answer, PORT, 1, pio=True)
        gsi = vm.routing.allocate()
        vm.routing.set_msi(gsi, _MSI_ADDRESS, VECTOR)
        vm.routing.commit()
        vm.irqfd(signal, gsi)
        timer = str(build.program("irqfd_timer"))
        return _timed([timer, str(signal), str(answer), str(COUNT)], (signal, answer))


def _c_loop() -> float:
    timer = str(build.program("irqfd_timer"))
    vmm = str(build.program("irqfd_loop", "vmm"))
    return _timed([vmm, str(_guest()), str(PORT), str(VECTOR), timer, str(COUNT)])


def _guest() -> os.PathLike[str]:
    return build.guest("irqfd", PORT=PORT, VECTOR=VECTOR)


def _timed(command: Sequence[str], fds: Sequence[int] = ()) -> float:
    """Run the timer, or the VMM that runs it; returns the median it found, in µs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, pass_fds=fds, timeout=40, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(command)}: has not ended") from None
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return int(done.stdout) / 1e3
