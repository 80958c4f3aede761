# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MSI-X: nothing lost, nothing delivered while masked, and no more calls than needed."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.kvm import KvmError
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.msix import Msix
from pyvmm.pci.vectors import HostVectors, Message
from pyvmm.vfio import DeviceError, TooFewVectors
from tests.unit.pci.fake_device import MSIX, FakeDevice
from tests.unit.pci.fake_vm import Call, FakeVm

AT = 0x70
CONTROL = AT + 2
ENABLE, MASKALL = 0x8000, 0x4000
LAPIC = 0xFEE00000


class Guest:
    """A guest's driver, its MSI-X, and the host around them."""

    def __init__(self, size: int = 8, *, noresize: bool = False) -> None:
        self.vm = FakeVm()
        self.device = FakeDevice(msix=size, noresize=noresize)
        self.host = HostVectors(self.device, MSIX, self.vm)
        self.config = ConfigSpace()
        self.msix = Msix(self.config, AT, size - 1, 0x800 | 0, 0xC00 | 1, self.host)

    def reconcile(self) -> None:
        self.msix.reconcile(self.msix.enabled)
        self.vm.run()

    def control(self, value: int) -> None:
        self.config.write(CONTROL, 2, value)
        self.reconcile()

    def store(self, vector: int, field: int, value: int, size: int = 4) -> None:
        self.msix.write_table(16 * vector + field, size, value)
        self.reconcile()

    def message(self, vector: int, address: int = LAPIC, data: int | None = None) -> None:
        """Fill in an entry; its data is the vector number, unless told."""
        self.store(vector, 0, address & 0xFFFFFFFF)
        self.store(vector, 4, address >> 32)
        self.store(vector, 8, vector if data is None else data)

    def mask(self, vector: int, masked: bool) -> None:
        self.store(vector, 12, int(masked))

    def signal(self, vector: int) -> None:
        self.device.signal(vector)
        self.vm.run()

    def delivered(self) -> list[int]:
        """Data of the messages that came since the last call."""
        data = [message.data for message in self.vm.delivered]
        self.vm.delivered.clear()
        return data

    def calls(self) -> list[Call]:
        """System calls and device calls since the last call."""
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

    def new(size: int = 8, *, noresize: bool = False) -> Guest:
        made.append(Guest(size, noresize=noresize))
        return made[-1]

    yield new
    for guest in made:
        guest.close()


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


def test_linux_sets_up_all_its_vectors_with_one_call(make: Callable[..., Guest]) -> None:
    guest = make(64)
    guest.control(ENABLE | MASKALL)
    # Enabled on the device too, with no vector: some devices care.
    assert guest.calls() == [("trigger", MSIX, 0, 1, [False])]
    for vector in range(64):
        guest.mask(vector, True)
    for vector in range(16):
        guest.message(vector)
    assert guest.calls() == []
    guest.control(ENABLE)
    assert guest.calls() == [("trigger", MSIX, 0, 16, [True] * 16)]
    for vector in range(16):
        guest.mask(vector, False)
        assert [call[0] for call in guest.calls()] == ["commit", "irqfd"]


class Linux:
    """What pci_alloc_irq_vectors(), request_irq() and their opposites do to MSI-X."""

    NOBODY = 0xEF  # where a vector goes that no CPU has been chosen for

    def __init__(self, guest: Guest, vectors: int) -> None:
        self.guest = guest
        self.vectors = vectors

    def allocate(self) -> None:
        self.guest.control(ENABLE | MASKALL)
        for vector in range(self.vectors):
            self.guest.message(vector, data=self.NOBODY)
        for vector in range(self.guest.msix.size):
            self.guest.mask(vector, True)
        self.guest.control(ENABLE)

    def request(self) -> None:
        for vector in range(self.vectors):
            self.guest.message(vector)
            self.guest.mask(vector, False)

    def free(self) -> None:
        for vector in range(self.vectors):
            self.guest.mask(vector, True)
            self.guest.message(vector, address=0, data=0)
        self.guest.control(0)


@pytest.mark.parametrize(("noresize", "sets"), [(False, 2), (True, 3)])
def test_loading_and_unloading_a_linux_driver(
    make: Callable[..., Guest], noresize: bool, sets: int
) -> None:
    """33 vectors take two or three VFIO_DEVICE_SET_IRQS, and one each of what is each one's."""
    guest = make(65, noresize=noresize)
    driver = Linux(guest, 33)
    for _ in range(20):
        driver.allocate()
        driver.request()
        counts = Counter(call[0] for call in guest.calls())
        assert counts == {"trigger": sets, "commit": 33, "irqfd": 33}
        for vector in range(33):
            guest.signal(vector)
        assert guest.delivered() == list(range(33))
        driver.free()
        counts = Counter(call[0] for call in guest.calls())
        assert counts == {"remove_irqfd": 33, "trigger": 1}
        assert guest.vm.routing.allocated == set()


def test_entries_that_are_unmasked_behind_the_function_mask_wait_too(
    make: Callable[..., Guest],
) -> None:
    guest = make(64)
    guest.control(ENABLE | MASKALL)
    for vector in range(16):
        guest.message(vector)
        guest.mask(vector, False)
        guest.signal(vector)
    guest.calls()
    guest.control(ENABLE)
    kinds = [call[0] for call in guest.calls()]
    assert kinds == ["trigger", "commit", *["irqfd"] * 16]
    guest.vm.run()
    assert sorted(guest.delivered()) == list(range(16))


def test_without_resize_too(make: Callable[..., Guest]) -> None:
    guest = make(64, noresize=True)
    guest.control(ENABLE | MASKALL)
    for vector in range(16):
        guest.message(vector)
    guest.calls()
    guest.control(ENABLE)
    assert guest.calls() == [
        ("trigger", MSIX, 0, 0, None),
        ("trigger", MSIX, 0, 16, [True] * 16),
    ]


def test_vectors_are_set_up_when_used(make: Callable[..., Guest]) -> None:
    guest = make(2048)
    guest.control(ENABLE)
    guest.calls()
    guest.message(2047)
    guest.mask(2047, False)
    assert guest.calls() == [
        ("trigger", MSIX, 2047, 1, [True]),
        ("commit",),
        ("irqfd", 24),
    ]
    guest.signal(2047)
    assert guest.delivered() == [2047]


@pytest.mark.parametrize("noresize", [False, True])
def test_a_table_of_the_largest_size(make: Callable[..., Guest], noresize: bool) -> None:
    guest = make(2048, noresize=noresize)
    guest.control(ENABLE | MASKALL)
    for vector in range(2048):
        guest.message(vector)
        guest.mask(vector, False)
    guest.calls()
    guest.control(ENABLE)
    counts = Counter(call[0] for call in guest.calls())
    assert counts == {"trigger": 1 + noresize, "commit": 1, "irqfd": 2048}
    guest.control(ENABLE | MASKALL)
    for vector in (0, 1023, 2047):
        guest.signal(vector)
    assert [v for v in range(2048) if guest.msix.read_pba(v // 8, 1) >> v % 8 & 1] == [
        0,
        1023,
        2047,
    ]
    guest.control(ENABLE)
    assert sorted(guest.delivered()) == [0, 1023, 2047]
    guest.control(0)
    assert guest.vm.routing.allocated == set()


def test_only_new_vectors_are_told_to_the_device(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.control(ENABLE)
    for vector in (4, 1):
        guest.message(vector)
        guest.mask(vector, False)
    guest.control(ENABLE | MASKALL)
    for vector in range(8):
        guest.message(vector)
    guest.calls()
    guest.control(ENABLE)
    triggers = [call for call in guest.calls() if call[0] == "trigger"]
    assert triggers == [
        ("trigger", MSIX, 0, 1, [True]),
        ("trigger", MSIX, 2, 2, [True] * 2),
        ("trigger", MSIX, 5, 3, [True] * 3),
    ]


def test_without_resize_the_range_grows_by_doubling(make: Callable[..., Guest]) -> None:
    guest = make(2048, noresize=True)
    guest.control(ENABLE)
    for vector in range(100):
        guest.message(vector)
        guest.mask(vector, False)
    ranges = [call[3] for call in guest.calls() if call[0] == "trigger" and call[4] is not None]
    assert max(ranges) == 128
    assert [n for n in ranges if n > 1] == [2, 4, *[n for n in ranges if n > 4]]
    guest.delivered()
    for vector in range(100):
        guest.signal(vector)
    assert guest.delivered() == list(range(100))


def test_what_gets_lost_while_the_range_grows_is_made_up_for(make: Callable[..., Guest]) -> None:
    guest = make(noresize=True)
    guest.control(ENABLE)
    for vector in (0, 1):
        guest.message(vector)
        guest.mask(vector, False)
    guest.mask(1, True)
    guest.delivered()
    guest.message(5)
    assert guest.delivered() == [0]
    assert guest.msix.read_pba(0, 1) == 1 << 1
    guest.mask(1, False)
    assert guest.delivered() == [1]


def test_vectors_that_were_there_come_back_if_more_can_not_be_had(
    make: Callable[..., Guest],
) -> None:
    guest = make(noresize=True)
    guest.control(ENABLE)
    for vector in (0, 1):
        guest.message(vector)
        guest.mask(vector, False)
    guest.device.vectors_left = 2
    with pytest.raises(TooFewVectors):
        guest.message(5)
    guest.vm.run()
    guest.delivered()
    guest.signal(0)
    guest.signal(1)
    assert guest.delivered() == [0, 1]


@pytest.mark.parametrize("noresize", [False, True])
def test_a_host_with_too_few_vectors_gives_those_it_has(
    make: Callable[..., Guest], noresize: bool
) -> None:
    guest = make(64, noresize=noresize)
    guest.device.vectors_left = 20
    guest.control(ENABLE | MASKALL)
    for vector in range(33):
        guest.message(vector)
        guest.mask(vector, False)
    if noresize:
        with pytest.raises(TooFewVectors):
            guest.control(ENABLE)
    else:
        guest.control(ENABLE)
    guest.calls()
    for vector in range(33):
        guest.mask(vector, True)
        guest.mask(vector, False)
    assert not [call for call in guest.calls() if call[0] == "trigger"], "once is enough"
    for vector in range(33):
        guest.signal(vector)
    assert guest.delivered() == list(range(20 if noresize else 33))
    guest.device.vectors_left = 64
    guest.control(0)
    guest.control(ENABLE)
    for vector in range(33):
        guest.signal(vector)
    assert guest.delivered() == list(range(33)), "when it is switched on again, it is tried again"


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


def test_a_full_routing_table_holds_up_nobody_else(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.vm.routing.capacity = 2
    guest.control(ENABLE | MASKALL)
    for vector in range(3):
        guest.message(vector)
        guest.mask(vector, False)
    with pytest.raises(KvmError, match="all routes are in use"):
        guest.control(ENABLE)
    for vector in range(3):
        guest.signal(vector)
    assert guest.delivered() == [0, 1]
    guest.vm.routing.capacity = 3
    guest.reconcile()
    assert guest.delivered() == [2], "it was tried again, and nothing was lost"


NO_SPACE = DeviceError("no vectors left", errno.ENOSPC)


def test_what_the_device_refuses_is_tried_again(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.message(5)
    guest.mask(5, False)
    guest.device.refuse_irqs = NO_SPACE
    with pytest.raises(DeviceError):
        guest.control(ENABLE)
    assert not guest.host.on
    guest.device.refuse_irqs = None
    guest.reconcile()
    guest.signal(5)
    assert guest.delivered() == [5]
    guest.device.refuse_irqs = NO_SPACE
    with pytest.raises(DeviceError):
        guest.control(0)
    assert guest.vm.irqfds == {}, "whatever the device says, the guest gets no more"
    assert guest.host.on
    guest.device.refuse_irqs = None
    guest.reconcile()
    assert not guest.host.on


def test_a_refused_vector_leaves_the_others_working(make: Callable[..., Guest]) -> None:
    guest = make(noresize=True)
    guest.control(ENABLE)
    guest.message(0)
    guest.mask(0, False)
    guest.device.refuse_triggers = NO_SPACE
    with pytest.raises(DeviceError):
        guest.message(6)
    guest.device.refuse_triggers = None
    guest.message(6)
    guest.mask(6, False)
    guest.delivered()
    guest.signal(0)
    guest.signal(6)
    assert guest.delivered() == [0, 6]


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
