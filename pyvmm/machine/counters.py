# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A machine's counters as lines for people: KVM's exits by kind, and what we have answered."""

from __future__ import annotations

from .._counted import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .machine import Machine


def counters(vm: Machine) -> Iterator[str]:
    """Those that are not zero; KVM's are summed over the vCPUs. Raises KvmError."""
    yield "KVM's counters:"
    for name, value in sorted(vm.stats().items()):
        if value:
            yield f"  {name:<24} {value:>10}"
    for plugged in vm.devices:
        for what, count in sorted(plugged.function.guard.counts.items()):
            yield f"{plugged.function.name}: {what}: {count}"
    for area_map in (vm.ports, vm.mmio):
        unclaimed = area_map.unclaimed
        if unclaimed.reads or unclaimed.writes:
            yield (
                f"unclaimed {area_map.name}: {counted(unclaimed.reads, 'read')} (answered with "
                f"all-ones), {counted(unclaimed.writes, 'write')} (dropped)"
            )
