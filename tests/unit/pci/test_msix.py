# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MSI-X as the guest has it: nothing lost, and nothing delivered while masked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.msix import Msix
from pyvmm.pci.vectors import HostVectors, Message
from tests.unit.pci.fake_device import MSIX, FakeDevice
from tests.unit.pci.fake_vm import FakeVm
from tests.unit.pci.msix_guest import AT, CONTROL, ENABLE, LAPIC, MASKALL, Guest, make_msix

__all__ = ["make_msix"]


def test_after_reset_every_entry_is_masked(make: Callable[..., Guest]) -> None:
    msix = make().msix
    for vector in range(8):
        assert msix.read_table(16 * vector, 8) == 0
        assert msix.read_table(16 * vector + 8, 8) == 1 << 32


def test_the_table_keeps_what_is_written_but_reserved_bits(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.store(7, 0, 0x11111111_FEE01000, 8)
    guest.store(7, 8, 0xFFFFFFFF_12345678, 8)
    assert guest.msix.read_table(7 * 16, 8) == 0x11111111_FEE01000
    assert guest.msix.read_table(7 * 16 + 8, 8) == 0x1_12345678
    guest.store(7, 12, 0, 1)
    assert guest.msix.read_table(7 * 16 + 12, 4) == 0
    assert guest.calls() == [], "MSI-X is off: nobody needs to know"


def test_the_table_size_is_what_the_host_can_signal() -> None:
    device, config = FakeDevice(msix=5), ConfigSpace()
    msix = Msix(config, AT, 2047, 0x2003, 0x3004, HostVectors(device, MSIX, FakeVm()))
    assert msix.size == 5
    assert config.read(CONTROL, 2) == 4
    assert (msix.table_region, msix.table_area) == (3, (0x2000, 0x2050))
    assert (msix.pba_region, msix.pba_area) == (4, (0x3000, 0x3008))
    config.write(CONTROL, 2, 0xFFFF)
    assert config.read(CONTROL, 2) == ENABLE | MASKALL | 4


def test_a_masked_vector_keeps_its_event(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(3)
    guest.mask(3, False)
    guest.mask(3, True)
    guest.signal(3)
    guest.signal(3)
    assert guest.delivered() == []
    assert guest.msix.read_pba(0, 8) == 1 << 3
    guest.mask(3, False)
    assert guest.delivered() == [3]
    assert guest.msix.read_pba(0, 8) == 0
    guest.mask(3, True)
    guest.mask(3, False)
    assert guest.delivered() == [], "once is enough"


def test_the_function_mask_masks_all_and_loses_none(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    for vector in range(8):
        guest.message(vector)
        guest.mask(vector, False)
    guest.control(ENABLE | MASKALL)
    for vector in (7, 0, 5):
        guest.signal(vector)
    assert guest.delivered() == []
    assert [guest.msix.read_pba(at, 1) for at in range(2)] == [0b10100001, 0]
    guest.calls()
    guest.control(ENABLE)
    assert sorted(guest.delivered()) == [0, 5, 7]
    assert [call[0] for call in guest.calls()] == ["irqfd"] * 8, "routes are as they were"


def test_an_event_from_before_the_first_unmasking(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.signal(2)
    guest.message(2)
    guest.mask(2, False)
    assert guest.delivered() == [2]


def test_moving_a_vector_to_another_cpu(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(0)
    guest.mask(0, False)
    guest.mask(0, True)
    guest.calls()
    guest.message(0, LAPIC | 1 << 12, 0x31)
    assert guest.calls() == [], "nobody is told before it is unmasked"
    guest.mask(0, False)
    assert [call[0] for call in guest.calls()] == ["commit", "irqfd"]
    guest.signal(0)
    assert guest.vm.delivered == [Message(LAPIC | 1 << 12, 0x31)]


def test_changing_an_unmasked_vector_is_only_a_route(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(0)
    guest.mask(0, False)
    guest.calls()
    guest.store(0, 8, 0x55)
    assert guest.calls() == [("commit",)]
    guest.store(0, 8, 0x55)
    assert guest.calls() == []


@pytest.mark.parametrize("address", [0x0, 0x1000, 0xFED00000, 0xFEF00000, 0x1_FEE00000])
def test_what_is_no_interrupt_message_never_gets_to_kvm(
    make: Callable[..., Guest], address: int
) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(0, address)
    guest.message(1)
    guest.control(ENABLE | MASKALL)
    guest.mask(0, False)
    guest.mask(1, False)
    guest.control(ENABLE)
    guest.signal(0)
    guest.signal(1)
    assert guest.delivered() == [1]
    assert len(guest.vm.routing.table) == 1


def test_disabling_drains(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(1)
    guest.mask(1, False)
    guest.mask(1, True)
    guest.signal(1)
    guest.control(0)
    assert guest.msix.read_pba(0, 8) == 0
    assert guest.vm.irqfds == {}
    assert guest.vm.routing.allocated == set()
    assert not guest.host.on
    guest.control(ENABLE)
    guest.mask(1, False)
    assert guest.delivered() == []
    guest.signal(1)
    assert guest.delivered() == [1], "the table outlives the enable bit"


def test_reset_forgets_the_table(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    guest.message(1)
    guest.mask(1, False)
    guest.msix.reset()
    guest.reconcile()
    assert not guest.host.on
    assert guest.msix.read_table(16, 8) == 0
    assert guest.msix.read_table(24, 8) == 1 << 32


class MsixMachine(RuleBasedStateMachine):
    """Random guests and devices against a model of what the specification promises.

    Devices latch what they raise for a vector that has no trigger, as hardware does while MSI-X
    is enabled; where VFIO can't resize, that is lost when all vectors are set up anew, and those
    that had an eventfd before are signalled, whether they have lost something or not.
    """

    SIZE = 6
    vectors = st.integers(0, SIZE - 1)

    @initialize(noresize=st.booleans())
    def start(self, noresize: bool) -> None:
        self.guest = Guest(self.SIZE, noresize=noresize)
        self.entries = [[0, 0, True] for _ in range(self.SIZE)]
        self.enabled = self.masked = False
        self.pending: set[int] = set()
        self.expected: list[Message] = []

    def live(self, vector: int) -> bool:
        address, _, masked = self.entries[vector]
        return self.enabled and not self.masked and not masked and address == LAPIC

    def settle(self) -> None:
        """What the guest's write let through, in whichever order."""
        for vector in sorted(self.pending):
            if self.live(vector):
                self.expected.append(Message(self.entries[vector][0], self.entries[vector][1]))
                self.pending.remove(vector)

    def after_write(self, used: set[int]) -> None:
        if self.enabled and ("trigger", MSIX, 0, 0, None) in self.guest.device.log:
            self.pending = used
        if not self.enabled:
            self.pending.clear()
        assert self.guest.vm.log.count(("commit",)) <= 1
        self.settle()
        self.guest.device.log.clear()
        self.guest.vm.log.clear()

    @rule(vector=vectors, address=st.sampled_from([0, LAPIC, 0x1000]), data=st.integers(0, 3))
    def write_message(self, vector: int, address: int, data: int) -> None:
        for field, value in ((0, address), (8, data)):
            used = set(self.guest.host.used)
            self.entries[vector][field // 8] = value
            self.guest.store(vector, field, value)
            self.after_write(used)

    @rule(vector=vectors, masked=st.booleans())
    def write_mask(self, vector: int, masked: bool) -> None:
        used = set(self.guest.host.used)
        self.entries[vector][2] = masked
        self.guest.mask(vector, masked)
        self.after_write(used)

    @rule(enabled=st.booleans(), masked=st.booleans())
    def write_control(self, enabled: bool, masked: bool) -> None:
        used = set(self.guest.host.used)
        self.enabled, self.masked = enabled, masked
        self.guest.control(ENABLE * enabled | MASKALL * masked)
        self.after_write(used)

    @rule(vector=vectors)
    def device_signals(self, vector: int) -> None:
        self.guest.signal(vector)
        if self.enabled:
            self.pending.add(vector)
            self.settle()

    @invariant()
    def delivered_is_what_was_expected(self) -> None:
        assert sorted(self.guest.vm.delivered) == sorted(self.expected)

    @invariant()
    def pending_bits_are_those_of_used_vectors(self) -> None:
        bits = self.guest.msix.read_pba(0, 8)
        assert bits == sum(1 << v for v in self.pending if v in self.guest.host.used)

    @invariant()
    def only_live_vectors_have_an_irqfd(self) -> None:
        assert len(self.guest.vm.irqfds) == sum(self.live(v) for v in range(self.SIZE))

    @invariant()
    def the_host_is_on_when_the_guest_is(self) -> None:
        assert self.guest.host.on == self.enabled == bool(self.guest.device.kinds[MSIX].enabled)

    @invariant()
    def a_second_reconcile_does_nothing(self) -> None:
        self.guest.reconcile()
        assert self.guest.calls() == []

    def teardown(self) -> None:
        if hasattr(self, "guest"):
            self.guest.close()


TestMsixMachine = MsixMachine.TestCase
