# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The guard: whatever a device raises, its guest gets an answer and people get one line."""

from __future__ import annotations

import pytest

from pyvmm.pci.guard import Guard
from pyvmm.vfio import DeviceError, DeviceGone, ProtocolError, VfioError
from tests.unit.pci.fake_device import FakeDevice


class Guarded:
    def __init__(self) -> None:
        self.device = FakeDevice()
        self.device.add_region(0, 64)
        self.reports: list[str] = []
        self.removals = 0
        self.guard = Guard(self.device, self.reports.append, self.remove)

    def remove(self) -> None:
        self.removals += 1


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def test_accesses_are_little_endian_and_of_their_size(guarded: Guarded) -> None:
    guarded.guard.write(0, 8, 4, 0x12345678)
    assert guarded.guard.read(0, 8, 2) == 0x5678
    assert guarded.device.accesses == [("write", 0, 8, 0x12345678, 4), ("read", 0, 8, 2)]


def test_a_refusal_is_all_ones_or_dropped_and_told_once(guarded: Guarded) -> None:
    guarded.device.refuse = DeviceError("no such register", 22)
    for _ in range(3):
        assert guarded.guard.read(0, 0, 4) == 0xFFFFFFFF
        guarded.guard.write(0, 0, 1, 0)
    assert guarded.guard.counts == {"reads refused": 3, "writes refused": 3}
    assert guarded.reports == ["no such register"] * 2
    assert (guarded.removals, guarded.guard.gone) == (0, None)
    guarded.device.refuse = None
    assert guarded.guard.read(0, 0, 1) == 0


@pytest.mark.parametrize("error", [DeviceGone("died"), ProtocolError("lied")])
def test_a_lost_device_is_told_once_and_left_alone(guarded: Guarded, error: VfioError) -> None:
    guarded.device.refuse = error
    assert guarded.guard.read(0, 0, 8) == 0xFFFFFFFF_FFFFFFFF
    asked = len(guarded.device.accesses)
    assert guarded.guard.read(0, 0, 1) == 0xFF
    guarded.guard.write(0, 0, 4, 0)
    guarded.guard.failed("late", error)
    assert len(guarded.device.accesses) == asked
    assert guarded.removals == 1
    assert guarded.guard.gone is error
    assert guarded.reports == []
    assert guarded.guard.counts["accesses after the device was lost"] == 2


def test_a_loss_that_others_notice(guarded: Guarded) -> None:
    error = DeviceGone("its server hung up")
    guarded.guard.lost(error)
    guarded.guard.lost(DeviceGone("closed"))
    assert guarded.removals == 1
    assert guarded.guard.gone is error, "the first reason is the reason"
    assert guarded.guard.read(0, 0, 2) == 0xFFFF
    assert guarded.device.accesses == []
