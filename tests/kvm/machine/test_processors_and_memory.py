# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Several processors, and memory on both sides of the PCI hole."""

from __future__ import annotations

import os

import pytest

from pyvmm.machine import End
from pyvmm.memory import layout
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize("cpus", [1, 4, 16])
def test_guests_find_their_processors(make: MakeMachine, cpus: int) -> None:
    vm = make("hello", cpus=cpus)
    vm.start()
    vm.console.expect(rf"cpus: {cpus}\r\n", LIMIT)
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok


@pytest.mark.parametrize("devices", [[], [{"model": "testdev"}]], ids=["no device", "testdev"])
def test_a_storm_on_all_of_them(make: MakeMachine, devices: list[dict[str, object]]) -> None:
    vm = make("storm", cpus=4, cmdline="mode=smp n=10", devices=devices)
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    text = vm.console.text
    assert outcome.ok, text
    assert "storm cpus=4 " in text
    for cpu in range(4):
        assert f"cpu={cpu} ipis=10 irqs={10 if devices else 0} lost=0" in text
    assert text.endswith("PASS\r\n")


def test_all_end_when_one_of_them_ends_it(make: MakeMachine) -> None:
    vm = make("storm", cpus=4, cmdline="mode=none")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.end is End.EXIT


def seen_memory(make: MakeMachine, size: int) -> int:
    """How many bytes of RAM the guest is told of."""
    vm = make("hello", memory=size)
    vm.start()
    line = vm.console.expect(r"memory: \d+ KiB", LIMIT)
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok
    return int(line.split()[1]) << 10


def test_memory_above_the_hole(make: MakeMachine) -> None:
    """5 GiB: 3 below the hole, 2 above it. What isn't touched costs the host nothing."""
    kept_from_guests = 64 * MIB - seen_memory(make, 64 * MIB)
    assert 0 < kept_from_guests < MIB
    if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") < 5 * GIB:
        pytest.skip("the host has less than 5 GiB")
    assert seen_memory(make, 5 * GIB) == 5 * GIB - kept_from_guests
    vm = make("hello", memory=5 * GIB)
    vm.build()
    low, high = (region for region in vm.memory.regions if region.kind == "ram")
    assert (low.gpa, low.size) == (0, layout.LOW_RAM_LIMIT)
    assert (high.gpa, high.size) == (layout.HIGH_RAM_BASE, 5 * GIB - layout.LOW_RAM_LIMIT)


def test_more_memory_than_this_host_has(make: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it isn't asked for: the guest reads how much it has, and touches next to nothing."""
    kept_from_guests = 64 * MIB - seen_memory(make, 64 * MIB)
    sysconf = os.sysconf
    monkeypatch.setattr(
        os, "sysconf", lambda name: 1 << 40 if name == "SC_PHYS_PAGES" else sysconf(name)
    )
    assert seen_memory(make, 70 * GIB) == 70 * GIB - kept_from_guests
