# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MSI-X of any guest, on hosts that add vectors at any time and on those that don't: none is lost.

What a device signals reaches the guest at once, or as soon as mask, function mask, address and
enable bit let it; the pending bits tell of it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvmm.uapi.vfio import VFIO_IRQ_INFO_NORESIZE
from tests.unit.pci.conftest import COMMAND, MASTER, MEMORY, MSIX_AT, Setting, make_device
from tests.unit.pci.fake_device import MSIX, FakeDevice

ENABLE, MASKALL = 0x8000, 0x4000
TABLE, PBA = 0x1800, 0x1C00
SIZE = 6

Make = Callable[..., Setting]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["signal", "mask", "unmask", "address", "mask all", "enable"]),
        st.integers(0, SIZE - 1),
    ),
    max_size=60,
)


def fixed(device: FakeDevice) -> FakeDevice:
    """As of a host whose number of vectors is fixed while MSI-X is on."""
    device.kinds[MSIX].flags |= VFIO_IRQ_INFO_NORESIZE
    return device


class Guest:
    """A guest, and what it is to find."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.bar0 = setting.function.bars[0].address
        self.masked = [True] * SIZE
        self.has_address = [False] * SIZE
        self.on = self.all_masked = False
        self.pending: set[int] = set()
        setting.write(COMMAND, 2, MEMORY | MASTER)

    def do(self, what: str, vector: int) -> None:
        match what:
            case "signal":
                if self.setting.device.signal(vector):
                    self.pending.add(vector)
            case "mask" | "unmask":
                self.masked[vector] = what == "mask"
                self._store(vector, 12, 4, self.masked[vector])
            case "address":
                self.has_address[vector] = True
                self._store(vector, 8, 4, vector)
                self._store(vector, 0, 8, 0xFEE00000)
            case "mask all":
                self.all_masked = not self.all_masked
                self._control()
            case "enable":
                self.on = not self.on
                if not self.on:
                    self.pending.clear()
                self._control()

    def _store(self, vector: int, offset: int, size: int, value: int) -> None:
        self.setting.store(self.bar0 + TABLE + 16 * vector + offset, size, value)

    def _control(self) -> None:
        self.setting.write(MSIX_AT + 2, 2, ENABLE * self.on | MASKALL * self.all_masked)

    def open(self, vector: int) -> bool:
        is_open = self.on and not self.all_masked and not self.masked[vector]
        return is_open and self.has_address[vector]

    def took(self) -> set[int]:
        self.setting.vm.run()
        vectors = {message.data for message in self.setting.vm.delivered}
        self.setting.vm.delivered.clear()
        return vectors

    def pba(self) -> set[int]:
        bits = self.setting.load(self.bar0 + PBA, 8)
        return {vector for vector in range(16) if bits >> vector & 1}


@pytest.mark.parametrize("kind", [lambda device: device, fixed], ids=["dynamic", "fixed"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_no_interrupt_is_lost(
    make: Make, kind: Callable[[FakeDevice], FakeDevice], steps: list[tuple[str, int]]
) -> None:
    setting = make(kind(make_device()))
    guest = Guest(setting)
    for what, vector in steps:
        guest.do(what, vector)
        took = guest.took()
        due = {vector for vector in guest.pending if guest.open(vector)}
        assert due <= took
        assert all(map(guest.open, took)), "a vector that is closed"
        guest.pending -= due
        if guest.on:
            assert guest.pending <= guest.pba()
    setting.close()


def open_all(guest: Guest, *vectors: int) -> None:
    for vector in vectors:
        guest.do("address", vector)
        guest.do("unmask", vector)


def heard(guest: Guest, *vectors: int) -> list[int]:
    for vector in vectors:
        guest.setting.device.signal(vector)
    return sorted(guest.took())


def test_a_host_that_has_fewer_left_when_there_are_to_be_more(make: Make) -> None:
    """Those that it has no more are not said to be in use."""
    device = fixed(make_device())
    guest = Guest(make(device))
    guest.do("enable", 0)
    open_all(guest, 0, 1, 2, 3)
    guest.took()
    device.vectors_left = 2  # another device took them while all were off
    open_all(guest, 4)
    guest.took()
    assert heard(guest, 0, 1, 2, 3) == [0, 1]
    assert guest.setting.function.interrupts_in_use == "MSI-X, 2 of 16 vectors"
    device.vectors_left = 16
    guest.do("enable", 0)
    guest.do("enable", 0)
    assert heard(guest, 0, 1, 2, 3, 4) == [0, 1, 2, 3, 4]


def test_a_host_whose_handlers_run_out_when_there_are_to_be_more(make: Make) -> None:
    """Those that had one keep it, as far as there are; none is in use without."""
    device = fixed(make_device())
    guest = Guest(make(device))
    guest.do("enable", 0)
    open_all(guest, 0, 1)
    device.handlers_left = 1
    open_all(guest, 2, 3)
    guest.took()
    assert heard(guest, 0, 1, 2, 3) == [0]
    assert guest.setting.function.interrupts_in_use == "MSI-X, 1 of 16 vectors"


def test_one_that_is_held_back_while_others_are_opened(make: Make) -> None:
    """As Linux has it: all is filled in behind the function mask, and signalled there."""
    device = fixed(make_device())
    guest = Guest(make(device))
    guest.do("mask all", 0)
    guest.do("enable", 0)
    guest.do("signal", 2)
    guest.do("signal", 3)
    open_all(guest, 0, 1, 2)
    assert guest.pba() == {2, 3}
    guest.do("mask all", 0)
    assert guest.took() == {2}
    assert guest.pba() == {3}, "the device was switched off and on, and has forgotten it"
    open_all(guest, 3)
    assert 3 in guest.took()
