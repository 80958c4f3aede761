# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a Linux guest with a drive leaves for, by kind: until user space, and while it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ..measure import Row, exactly
from ..vmms import PYVMM
from .exit_kinds import IN_KERNEL, SERIAL, counting
from .linux_vm import DEPTHS, TITLE, Contender


class _Counted:
    """Exits of one VM, by kind, and those of its reads, by depth."""

    def __init__(self, contender: Contender) -> None:
        self.reading: dict[int, float] = {}
        with counting() as exits, contender.guest() as guest:
            guest.comes_up()
            self.boot = exits.so_far(contender.ecam)
            for depth in DEPTHS:
                guest.begins_to_read()
                before = _of_the_vmm(exits.so_far(contender.ecam))
                reads = guest.has_read(depth).reads
                self.reading[depth] = (_of_the_vmm(exits.so_far(contender.ecam)) - before) / reads


def _of_the_vmm(kinds: Mapping[str, int]) -> int:
    """But for the serial port, on which the script tells of its reads."""
    return sum(count for kind, count in kinds.items() if kind not in (IN_KERNEL, SERIAL))


def rows(contenders: Mapping[str, Contender]) -> Iterator[Row]:
    """One VM of each: what they do is always the same, but for the guest's time."""
    counted = {name: _Counted(contender) for name, contender in contenders.items()}
    everything: Counter[str] = Counter()
    for vm in counted.values():
        everything += vm.boot
    for kind, _ in everything.most_common():
        samples = {name: [float(vm.boot[kind])] for name, vm in counted.items()}
        yield Row(f"{TITLE}: of those exits, {kind}", "exits", samples)
    for depth in DEPTHS:
        title = f"reads of 4 KiB in it, {depth} at a time: exits to the VMM but for the serial port"
        samples = {name: [vm.reading[depth]] for name, vm in counted.items()}
        yield Row(title, "per read", samples, exactly(0, samples, PYVMM))
