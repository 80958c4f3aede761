# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which accesses cost an exit, by KVM's own count: trapped ones each one, mapped ones none."""

from __future__ import annotations

import pytest

from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

N = 200


def counters(make: MakeMachine, mode: str, n: int, process: bool) -> dict[str, int]:
    """KVM's counters after a guest that has done n reads and n writes of that kind."""
    device = {"model": "testdev", "process": process}
    vm = make("storm", cmdline=f"mode={mode} n={n}", devices=[device])
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    assert outcome.ok, vm.console.text
    assert f"storm mode={mode} target=testdev op=write n={n} " in vm.console.text
    return vm.stats()


@pytest.mark.parametrize("process", [False, True])
def test_exits_of_a_storm(make: MakeMachine, process: bool) -> None:
    """What guests do besides is the same each time, and so in neither difference."""
    trapped = [counters(make, "mmio", n, process)["mmio_exits"] for n in (N, 2 * N)]
    assert trapped[1] - trapped[0] == 2 * N
    some, more = (counters(make, "mapped", n, process) for n in (N, 2 * N))
    assert more["mmio_exits"] == some["mmio_exits"]
    # What else leaves the guest, such as the host's timer, doesn't come with each access.
    assert more["exits"] - some["exits"] < N
