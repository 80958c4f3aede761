# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where a config's devices go, before any of them is opened."""

from __future__ import annotations

import pytest

from pyvmm.config import Device
from pyvmm.machine.topology import Topology
from pyvmm.pci.errors import BusConflict


def at(slot: int | None = None, *, root_port: bool = False) -> Device:
    return Device(model="edu", slot=slot, root_port=root_port)


def test_devices_without_a_slot_take_the_free_ones_in_order() -> None:
    topology = Topology([at(), at(2 << 3), at(2 << 3 | 5), at(), at(1 << 3)])
    assert topology.devfns == [3 << 3, 2 << 3, 2 << 3 | 5, 4 << 3, 1 << 3]
    assert topology.ports == []
    assert topology.last_bus == 0


def test_each_device_behind_a_root_port_has_a_bus() -> None:
    topology = Topology(
        [
            at(9 << 3, root_port=True),
            at(),
            at(root_port=True),
            at(9 << 3 | 1, root_port=True),
            at(5 << 3),
        ]
    )
    assert topology.devfns == [9 << 3, 1 << 3, 2 << 3, 9 << 3 | 1, 5 << 3]
    assert topology.ports == [2, 9]
    assert topology.last_bus == 2


def test_there_are_31_places() -> None:
    devices = [at(root_port=bool(number % 2)) for number in range(31)]
    topology = Topology(devices)
    assert topology.devfns == [device << 3 for device in range(1, 32)]
    assert topology.last_bus == 15
    with pytest.raises(BusConflict, match=r"no free device number left; use slots such as 03\.1"):
        Topology([*devices, at()])
