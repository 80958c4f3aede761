# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What ``pyvmm run -v`` tells of a run: where its start-up time went, and what exited."""

from __future__ import annotations

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
    counters = {name: value for name, value in vm.stats().items() if value}
    say("KVM's counters:")
    for name, value in sorted(counters.items()):
        say(f"  {name:<24} {value:>10}")
    for plugged in vm.devices:
        for what, count in sorted(plugged.function.guard.counts.items()):
            say(f"{plugged.function.name}: {what}: {count}")
    for area_map in (vm.ports, vm.mmio):
        unclaimed = area_map.unclaimed
        if unclaimed.reads or unclaimed.writes:
            say(
                f"unclaimed {area_map.name}: {unclaimed.reads} reads (answered with all-ones), "
                f"{unclaimed.writes} writes (dropped)"
            )
