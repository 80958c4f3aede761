# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Switching between INTx, MSI and MSI-X, as drivers that come and go do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.kvm import KvmError
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.guard import Guard
from pyvmm.pci.interrupts import Interrupts
from pyvmm.pci.intx import Intx
from pyvmm.pci.msi import Msi
from pyvmm.pci.msix import Msix
from pyvmm.pci.vectors import HostVectors
from pyvmm.vfio import DeviceError, DeviceGone
from tests.unit.pci.fake_device import INTX, MSI, MSIX, FakeDevice
from tests.unit.pci.fake_vm import FakeVm

MSI_AT, MSIX_AT = 0x50, 0x70
GSI = 17


class Guest:
    def __init__(self) -> None:
        self.vm = FakeVm()
        self.device = FakeDevice(intx=1, msi=4, msix=4)
        self.config = ConfigSpace()
        self.reports: list[str] = []
        self.guard = Guard(self.device, self.reports.append, lambda: None)
        self.intx = Intx(self.device, self.vm, partial(self.guard.failed, "INTx"))
        self.intx.gsi = GSI
        self.msi = Msi(self.config, MSI_AT, 0x80 | 2 << 1, HostVectors(self.device, MSI, self.vm))
        host = HostVectors(self.device, MSIX, self.vm)
        self.msix = Msix(self.config, MSIX_AT, 3, 0x800, 0xC00, host)
        self.interrupts = Interrupts(self.guard, self.intx, self.msi, self.msix)
        for offset, value in ((4, 0xFEE00000), (8, 0), (12, 0x40)):
            self.config.write(MSI_AT + offset, 4, value)

    def configure(self, *, msi: bool = False, msix: bool = False, disabled: bool = False) -> None:
        self.config.write(MSI_AT + 2, 2, 2 << 4 | msi)
        self.config.write(MSIX_AT + 2, 2, 0x8000 * msix)
        self.intx.disabled = disabled
        self.interrupts.reconcile()

    def on(self) -> set[int]:
        """The kinds that the device has enabled."""
        return {index for index, kind in self.device.kinds.items() if kind.enabled}

    def close(self) -> None:
        self.interrupts.close()
        self.device.close()


@pytest.fixture
def guest(no_leaks: None) -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.close()


def test_a_driver_that_comes_and_goes(guest: Guest) -> None:
    for _ in range(3):
        guest.configure()
        assert guest.on() == {INTX}
        guest.configure(msix=True)
        assert guest.on() == {MSIX}
        guest.configure(msix=True, disabled=True)
        assert guest.on() == {MSIX}
        guest.configure(disabled=True)
        assert guest.on() == set()
        guest.configure(msi=True, disabled=True)
        assert guest.on() == {MSI}
        assert len(guest.vm.irqfds) == 4
        guest.configure(msix=True)
        assert guest.on() == {MSIX}
    assert guest.guard.counts == {}
    guest.interrupts.close()
    assert guest.on() == set()
    assert guest.vm.irqfds == {}
    assert guest.vm.routing.allocated == set()


def test_reset_is_power_on(guest: Guest) -> None:
    guest.configure(msi=True, disabled=True)
    guest.interrupts.reset()
    assert guest.on() == set()
    assert guest.config.read(MSI_AT + 4, 4) == 0
    assert not guest.intx.disabled
    guest.interrupts.reconcile()
    assert guest.on() == {INTX}


def test_what_the_device_refuses_does_not_reach_the_guest(guest: Guest) -> None:
    guest.configure()
    guest.device.refuse_triggers = DeviceError("no vectors left", 28)
    guest.configure(msi=True)
    guest.configure(msi=True)
    assert guest.reports == ["no vectors left"], "told once"
    assert guest.guard.counts == {"interrupt changes refused": 2}
    guest.device.refuse_triggers = None
    guest.configure(msi=True)
    assert guest.on() == {MSI}


@pytest.mark.parametrize("refused", ["the first", "the second"])
def test_what_goes_holds_up_nothing_that_comes(
    guest: Guest, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = refused == "the first"
    guest.configure(msi=not first, disabled=not first)
    remove = guest.vm.remove_irqfd

    def fail(fd: int, gsi: int) -> None:
        remove(fd, gsi)
        raise KvmError("an irqfd that stays")

    monkeypatch.setattr(guest.vm, "remove_irqfd", fail)
    guest.configure(msix=True)
    monkeypatch.undo()
    assert guest.on() == {MSIX}
    assert guest.guard.counts == {"interrupt changes refused": 1}
    assert guest.reports == ["an irqfd that stays"]


def test_a_device_that_is_lost_over_what_goes_is_asked_for_no_more(guest: Guest) -> None:
    guest.configure()
    guest.device.refuse_irqs = DeviceGone("the server died")
    guest.device.log.clear()
    guest.configure(msix=True)
    assert guest.guard.counts == {"interrupt changes refused": 1}
    assert not any(call[:2] == ("trigger", MSIX) for call in guest.device.log)
    guest.device.refuse_irqs = None


def test_a_lost_device_is_not_asked_again(guest: Guest) -> None:
    guest.device.refuse_irqs = DeviceGone("the server died")
    guest.configure(msi=True)
    assert str(guest.guard.gone) == "the server died"
    calls = len(guest.device.log)
    guest.configure(msix=True)
    guest.interrupts.reset()
    guest.configure(msi=True)
    assert len(guest.device.log) == calls
    guest.device.refuse_irqs = None


class SwitchingMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.guest = Guest()
        self.wanted = {INTX}
        self.guest.configure()

    @rule(msi=st.booleans(), msix=st.booleans(), disabled=st.booleans())
    def reconfigure(self, msi: bool, msix: bool, disabled: bool) -> None:
        if msi or msix:
            self.wanted = {MSIX} if msix else {MSI}
        elif not disabled:
            self.wanted = {INTX}
        else:  # disabled it stays as it is, and with no way to the guest
            self.wanted &= {INTX}
        self.guest.configure(msi=msi, msix=msix, disabled=disabled)

    @rule()
    def reset(self) -> None:
        self.guest.interrupts.reset()
        self.guest.interrupts.reconcile()
        self.wanted = {INTX}
        for offset, value in ((4, 0xFEE00000), (8, 0), (12, 0x40)):
            self.guest.config.write(MSI_AT + offset, 4, value)

    @invariant()
    def one_kind_is_on(self) -> None:
        assert self.guest.on() == self.wanted
        assert self.guest.guard.counts == {}

    @invariant()
    def a_second_reconcile_does_nothing(self) -> None:
        before = len(self.guest.vm.log), len(self.guest.device.log)
        self.guest.interrupts.reconcile()
        assert (len(self.guest.vm.log), len(self.guest.device.log)) == before

    def teardown(self) -> None:
        if hasattr(self, "guest"):
            self.guest.close()


TestSwitchingMachine = SwitchingMachine.TestCase


def test_intx_that_would_not_go_is_asked_again(guest: Guest) -> None:
    """Until it goes, no other kind can be had."""
    guest.configure()
    assert guest.on() == {INTX}
    guest.device.refuse_irqs = DeviceError("not now", 16)
    guest.configure(msix=True)
    assert guest.on() == {INTX}
    guest.device.refuse_irqs = None
    guest.configure(msix=True)
    assert guest.on() == {MSIX}
    guest.configure()
    assert guest.on() == {INTX}
