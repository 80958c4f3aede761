# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MSI in all its layouts: several messages, masking where there is any, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.msi import Msi
from pyvmm.pci.vectors import HostVectors, Message
from pyvmm.vfio import TooFewVectors
from tests.unit.pci.fake_device import MSI, FakeDevice
from tests.unit.pci.fake_vm import Call, FakeVm

AT = 0x50
WIDE, MASKABLE = 0x80, 0x100
ENABLE = 1
LAPIC = 0xFEE00000


class Guest:
    def __init__(self, log2: int = 3, flags: int = WIDE | MASKABLE, count: int = 32) -> None:
        self.vm = FakeVm()
        self.device = FakeDevice(msi=count)
        self.host = HostVectors(self.device, MSI, self.vm)
        self.config = ConfigSpace()
        self.msi = Msi(self.config, AT, flags | log2 << 1, self.host)
        self.data = AT + (12 if flags & WIDE else 8)
        self.masks = self.data + 4

    def write(self, offset: int, size: int, value: int) -> None:
        self.config.write(offset, size, value)
        self.msi.reconcile(self.msi.enabled)
        self.vm.run()

    def control(self, enabled: bool, log2: int = 0) -> None:
        self.write(AT + 2, 2, ENABLE * enabled | log2 << 4)

    def message(self, address: int = LAPIC, data: int = 0x40) -> None:
        self.write(AT + 4, 4, address & 0xFFFFFFFF)
        if self.data == AT + 12:
            self.write(AT + 8, 4, address >> 32)
        self.write(self.data, 2, data)

    def signal(self, vector: int) -> None:
        self.device.signal(vector, MSI)
        self.vm.run()

    def pending(self) -> int:
        assert self.msi.has_pending_bits(self.masks + 4, 4)
        self.msi.update_pending_bits()
        return self.config.read(self.masks + 4, 4)

    def delivered(self) -> list[int]:
        data = [message.data for message in self.vm.delivered]
        self.vm.delivered.clear()
        return data

    def calls(self) -> list[Call]:
        made = [*self.device.log, *self.vm.log]
        self.device.log.clear()
        self.vm.log.clear()
        return made

    def close(self) -> None:
        self.host.disable()
        self.device.close()


@pytest.fixture
def make(no_leaks: None) -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def new(*arguments: int, **options: int) -> Guest:
        made.append(Guest(*arguments, **options))
        return made[-1]

    yield new
    for guest in made:
        guest.close()


@pytest.mark.parametrize(
    ("flags", "end"), [(0, 10), (WIDE, 14), (MASKABLE, 20), (WIDE | MASKABLE, 24)]
)
def test_the_layouts(make: Callable[..., Guest], flags: int, end: int) -> None:
    guest = make(2, flags)
    assert guest.msi.end == AT + end
    assert guest.config.u16(AT + 2) == flags | 2 << 1
    for offset in range(AT + 2, AT + 28):
        guest.config.write(offset, 1, 0xFF)
    assert guest.config.u16(AT + 2) == flags | 2 << 1 | 0x71
    assert guest.config.u32(AT + 4) == 0xFFFFFFFC
    assert guest.config.u16(guest.data) == 0xFFFF
    if flags & WIDE:
        assert guest.config.u32(AT + 8) == 0xFFFFFFFF
    if flags & MASKABLE:
        assert guest.config.u32(guest.masks) == 0xF
        assert guest.config.u32(guest.masks + 4) == 0
    assert guest.config.u32(AT + end) == 0, "what is behind the capability is not its own"


@pytest.mark.parametrize(
    ("log2", "count", "shown"), [(5, 32, 5), (5, 1, 0), (3, 7, 2), (7, 32, 5), (0, 32, 0)]
)
def test_no_more_messages_than_the_host_has(
    make: Callable[..., Guest], log2: int, count: int, shown: int
) -> None:
    guest = make(log2, WIDE, count)
    assert guest.config.u16(AT + 2) >> 1 & 7 == shown


def test_a_host_with_fewer_vectors_gives_what_it_has(make: Callable[..., Guest]) -> None:
    """As x86 hosts that remap no interrupts do: they have one."""
    guest = make()
    guest.device.vectors_left = 3
    guest.message(data=0x47)
    with pytest.raises(TooFewVectors, match="the guest has 2 of 8 messages") as caught:
        guest.control(True, 3)
    assert "doesn't remap interrupts" in str(caught.value)
    assert guest.calls()[:2] == [
        ("trigger", MSI, 0, 8, [True] * 8),
        ("trigger", MSI, 0, 2, [True] * 2),
    ]
    guest.signal(0)
    guest.signal(1)
    assert guest.delivered() == [0x40, 0x41], "numbered as the guest has them, 8 in a row"
    guest.message(data=0x57)
    assert not [call for call in guest.calls() if call[0] == "trigger"], "once is enough"
    guest.signal(1)
    assert guest.delivered() == [0x51]
    guest.control(False)
    guest.device.vectors_left = 8
    guest.control(True, 3)
    guest.signal(7)
    assert guest.delivered() == [0x57], "when it is switched on again, it is tried again"


def test_all_messages_with_one_call_each(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message(data=0x47)
    assert guest.calls() == []
    guest.control(True, 2)
    assert guest.calls() == [
        ("trigger", MSI, 0, 4, [True] * 4),
        ("commit",),
        *(("irqfd", gsi) for gsi in range(24, 28)),
    ]
    for vector in range(4):
        guest.signal(vector)
    assert guest.delivered() == [0x44, 0x45, 0x46, 0x47], "the low bits are the function's"
    guest.control(True, 2)
    assert guest.calls() == []


def test_one_message_leaves_data_alone(make: Callable[..., Guest]) -> None:
    guest = make(0, 0)
    guest.message(data=0x47)
    guest.control(True)
    guest.signal(0)
    assert guest.vm.delivered == [Message(LAPIC, 0x47)]


def test_a_guest_that_asks_for_more_than_there_are(make: Callable[..., Guest]) -> None:
    guest = make(1)
    guest.message()
    guest.control(True, 7)
    assert guest.calls()[0] == ("trigger", MSI, 0, 2, [True] * 2)


def test_64_bit_addresses(make: Callable[..., Guest]) -> None:
    guest = make(0)
    guest.message(0x100 << 32 | LAPIC)
    guest.control(True)
    guest.signal(0)
    assert guest.vm.delivered == [Message(0x100 << 32 | LAPIC, 0x40)]


def test_masking_keeps_the_event(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message()
    guest.write(guest.masks, 4, 0b0110)
    guest.control(True, 3)
    for vector in range(4):
        guest.signal(vector)
    assert guest.delivered() == [0x40, 0x43]
    assert guest.pending() == 0b0110
    guest.write(guest.masks, 1, 0b0100)
    assert guest.delivered() == [0x41]
    assert guest.pending() == 0b0100
    guest.calls()
    guest.write(guest.masks, 1, 0)
    assert [call[0] for call in guest.calls()] == ["commit", "irqfd"]
    assert guest.delivered() == [0x42]


def test_without_masking_there_are_no_pending_bits(make: Callable[..., Guest]) -> None:
    guest = make(0, WIDE)
    assert not guest.msi.has_pending_bits(AT, 32)


def test_changing_the_number_while_on(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message()
    guest.control(True, 0)
    guest.calls()
    guest.control(True, 2)
    triggers = [call for call in guest.calls() if call[0] == "trigger"]
    assert triggers == [("trigger", MSI, 0, 0, None), ("trigger", MSI, 0, 4, [True] * 4)]
    guest.signal(3)
    assert guest.delivered() == [0x43]


def test_disabling_drains(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message()
    guest.write(guest.masks, 4, 0xFF)
    guest.control(True, 3)
    guest.signal(5)
    guest.control(False)
    assert guest.vm.irqfds == {}
    assert guest.vm.routing.allocated == set()
    assert guest.pending() == 0
    guest.control(True, 3)
    guest.write(guest.masks, 4, 0)
    assert guest.delivered() == []


def test_reset(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message()
    guest.write(guest.masks, 4, 0xFF)
    guest.control(True, 3)
    guest.msi.reset()
    guest.msi.reconcile(False)
    assert guest.config.u16(AT + 2) == WIDE | MASKABLE | 3 << 1
    assert not any(guest.config.data[AT + 4 : AT + 24])
    assert not guest.host.on


class MsiMachine(RuleBasedStateMachine):
    """Random guests and devices against a model of what the specification promises."""

    @initialize()
    def start(self) -> None:
        self.guest = Guest(2)
        self.enabled = False
        self.count = 1
        self.address = self.data = self.masks = 0
        self.pending: set[int] = set()
        self.expected: list[Message] = []

    def settle(self) -> None:
        if not self.enabled or self.address != LAPIC:
            return
        for vector in sorted(self.pending):
            if not self.masks >> vector & 1:
                self.pending.remove(vector)
                self.expected.append(Message(LAPIC, self.data // self.count * self.count + vector))

    @rule(enabled=st.booleans(), log2=st.integers(0, 3))
    def write_control(self, enabled: bool, log2: int) -> None:
        count = 1 << min(log2, 2)
        if not enabled or count != self.count:
            self.pending.clear()
        self.enabled, self.count = enabled, count
        self.guest.control(enabled, log2)
        self.settle()

    @rule(address=st.sampled_from([LAPIC, 0x1000]))
    def write_address(self, address: int) -> None:
        self.address = address
        self.guest.write(AT + 4, 4, address)
        self.settle()

    @rule(data=st.integers(0, 0xFFFF))
    def write_data(self, data: int) -> None:
        self.data = data
        self.guest.write(self.guest.data, 2, data)

    @rule(masks=st.integers(0, 15))
    def write_masks(self, masks: int) -> None:
        self.masks = masks
        self.guest.write(self.guest.masks, 4, masks)
        self.settle()

    @rule(vector=st.integers(0, 3))
    def device_signals(self, vector: int) -> None:
        if vector < self.count:
            self.guest.signal(vector)
            if self.enabled:
                self.pending.add(vector)
            self.settle()

    @invariant()
    def delivered_is_what_was_expected(self) -> None:
        assert sorted(self.guest.vm.delivered) == sorted(self.expected)

    @invariant()
    def pending_bits(self) -> None:
        assert self.guest.pending() == sum(1 << vector for vector in self.pending)

    @invariant()
    def a_second_reconcile_does_nothing(self) -> None:
        self.guest.calls()
        self.guest.msi.reconcile(self.guest.msi.enabled)
        assert self.guest.calls() == []

    def teardown(self) -> None:
        if hasattr(self, "guest"):
            self.guest.close()


TestMsiMachine = MsiMachine.TestCase
