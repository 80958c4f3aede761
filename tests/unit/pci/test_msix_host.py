# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MSI-X as the host has it: no more calls than needed, and hosts that have too little to give."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable

import pytest

from pyvmm.kvm import KvmError
from pyvmm.vfio import DeviceError, TooFewVectors
from tests.unit.pci.fake_device import MSIX
from tests.unit.pci.msix_guest import ENABLE, MASKALL, Guest, make_msix

__all__ = ["make_msix"]


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


@pytest.mark.parametrize("noresize", [False, True])
def test_a_host_that_has_vectors_but_no_handlers(
    make: Callable[..., Guest], noresize: bool
) -> None:
    """Linux reserves more than it can serve: it says so when a vector is to get its eventfd."""
    guest = make(2048, noresize=noresize)
    guest.device.handlers_left = 182
    guest.control(ENABLE | MASKALL)
    for vector in range(2048):
        guest.message(vector)
        guest.mask(vector, False)
    guest.calls()
    with pytest.raises(TooFewVectors, match="giving interrupt vector 182 an eventfd: ENOSPC"):
        guest.control(ENABLE)
    assert Counter(call[0] for call in guest.calls())["trigger"] < 30
    assert guest.host.limit == 182
    guest.reconcile()
    assert guest.calls() == [], "once is enough"
    for vector in range(2048):
        guest.signal(vector)
    assert guest.delivered() == list(range(182))


@pytest.mark.parametrize("noresize", [False, True])
def test_when_there_are_no_more_handlers_the_old_keep_theirs(
    make: Callable[..., Guest], noresize: bool
) -> None:
    guest = make(64, noresize=noresize)
    guest.device.handlers_left = 4
    guest.control(ENABLE)
    for vector in (9, 8, 7):
        guest.message(vector)
        guest.mask(vector, False)
    guest.control(ENABLE | MASKALL)
    for vector in range(20):
        guest.message(vector)
        guest.mask(vector, False)
    guest.delivered()
    with pytest.raises(TooFewVectors):
        guest.control(ENABLE)
    guest.vm.run()
    guest.delivered()
    for vector in range(20):
        guest.signal(vector)
    assert guest.delivered() == [0, 7, 8, 9]


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
