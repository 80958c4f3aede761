# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""As many processors as a machine can have, and what test guests say of more than they can use."""

from __future__ import annotations

import pytest

from pyvmm.boot import acpi
from pyvmm.kvm import System
from pyvmm.machine import End, Machine
from pyvmm.memory import layout
from pyvmm.pci.pins import intx_gsi
from pyvmm.uapi.kvm import KVM_CAP_MAX_VCPUS
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

MOST = 255


def test_all_of_them_take_interrupts(make: MakeMachine) -> None:
    with System() as system:
        if system.check_extension(KVM_CAP_MAX_VCPUS) < MOST:
            pytest.skip(f"this KVM has fewer than {MOST} vCPUs: run a newer kernel")
    vm = make("storm", cpus=MOST, cmdline="mode=smp n=1")
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    assert outcome.ok, vm.console.text
    assert f"storm cpus={MOST} " in vm.console.text
    assert f"cpu={MOST - 1} ipis=1 irqs=0 lost=0" in vm.console.text


def with_more(make: MakeMachine, guest: str) -> Machine:
    """A guest whose tables list 300 processors."""
    vm = make(guest)
    vm.build()
    vm.memory.write(layout.ACPI_BASE, acpi.build(300, (1 << 33, 1 << 34), 0, intx_gsi))
    vm.start()
    return vm


def test_hello_says_how_many_are_left_out(make: MakeMachine) -> None:
    vm = with_more(make, "hello")
    vm.console.expect(rf"cpus: {MOST}\r\ncpus left out: {300 - MOST}\r\n", LIMIT)


def test_a_storm_on_some_of_them_is_none(make: MakeMachine) -> None:
    vm = with_more(make, "storm")
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    assert (outcome.end, outcome.code) == (End.EXIT, 2)
    assert vm.console.text.endswith(f"panic: {300 - MOST} CPUs are left out\r\n")
