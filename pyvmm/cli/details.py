# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What ``pyvmm run -v`` tells of a run: where its start-up time went, and what exited."""

from __future__ import annotations

from pyvmm.machine.counters import counters

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.machine import Machine


def show(vm: Machine) -> None:
    """Print a machine's phases and counters; it has ended and is not closed yet."""
    say("start-up:")
    for name, seconds in vm.phases.seconds:
        say(f"  {name:<18} {seconds * 1e3:7.2f} ms")
    say(f"  {'in all':<18} {vm.phases.total * 1e3:7.2f} ms")
    if vm.resets:
        say(f"resets: {vm.resets}")
    for line in counters(vm):
        say(line)
