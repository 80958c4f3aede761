# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The capabilities of an assigned device, as the guest finds them: which, and what is in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.pci.config_table import CONVENTIONAL, EXTENDED
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities
from tests.unit.pci.conftest import (
    EXPRESS_AT,
    INTEGRATED,
    LEGACY,
    MSI_AT,
    MSIX_AT,
    PM_AT,
    PM_CONTROL,
    VENDOR_AT,
    Setting,
    make_device,
    make_express_device,
)
from tests.unit.pci.fake_device import CONFIG, MSI, MSIX

Make = Callable[..., Setting]
ALL = [(0x10, EXPRESS_AT), (1, PM_AT), (5, MSI_AT), (0x11, MSIX_AT), (9, VENDOR_AT)]
AER, SERIAL, VSEC, ARI, SRIOV, REBAR = 1, 3, 0xB, 0xE, 0x10, 0x15


def conventional(setting: Setting) -> list[tuple[int, int]]:
    """(id, offset) of each that the guest finds."""
    return [(kind, at) for kind, at, _ in capabilities(setting.read)]


def extended(setting: Setting) -> list[tuple[int, int]]:
    return [(kind, at) for kind, at, _ in extended_capabilities(setting.read)]


def told(setting: Setting, offset: int, size: int, value: int) -> list[tuple[int, int, int]]:
    """(offset, value, size) of what the device sees of a write."""
    setting.device.accesses.clear()
    setting.write(offset, size, value)
    return [each[2:] for each in setting.device.accesses if each[:2] == ("write", CONFIG)]


# -- the chains -----------------------------------------------------------------------------------


def test_all_are_shown_in_the_devices_order(make: Make) -> None:
    assert conventional(make(make_express_device())) == ALL


@pytest.mark.parametrize("id", [id for id, seen in CONVENTIONAL.items() if seen.hidden])
def test_hidden_ones_can_not_be_found_or_written(make: Make, id: int) -> None:
    device = make_express_device()
    device.add_capability(0xE0, bytes([id, 0, 0, 0]))
    setting = make(device)
    assert conventional(setting) == ALL
    assert told(setting, 0xE0, 4, 0xFFFFFFFF) == []


def test_a_null_capability_is_left_out(make: Make) -> None:
    device = make_express_device()
    device.add_capability(0xE0, bytes(4))
    assert conventional(make(device)) == ALL


@pytest.mark.parametrize("id", [1, 5, 0x10, 0x11])
def test_a_second_one_of_a_kind_is_hidden(make: Make, id: int) -> None:
    """The first of the chain counts, which is here the one that was added last."""
    device = make_express_device()
    at = dict(ALL)[id]
    device.add_capability(0xE0, bytes([id, 0]) + device.config[at + 2 : at + 0x14])
    device.config[0xE0 + 4 : 0xE0 + 8] = device.config[at + 4 : at + 8]
    if id == 0x10:
        device.config[0xE2] = 1  # version 1 is short enough
    setting = make(device)
    assert conventional(setting) == [(id, 0xE0), *(each for each in ALL if each[0] != id)]
    assert told(setting, at, 4, 0xFFFFFFFF) == []


def test_without_any_there_is_no_list(make: Make) -> None:
    device = make_device()
    for kind in (MSI, MSIX):
        device.kinds[kind].count = 0
    device.config[VENDOR_AT] = 0x14
    setting = make(device)
    assert setting.read(0x34, 1) == 0
    assert not setting.read(6, 2) & 0x10


def test_msi_that_is_hidden_can_not_be_switched_on(make: Make) -> None:
    device = make_device()
    for kind in (MSI, MSIX):
        device.kinds[kind].count = 0
    setting = make(device)
    assert told(setting, MSI_AT + 2, 2, 1) == []
    assert told(setting, MSIX_AT + 2, 2, 0x8000) == []


# -- extended -------------------------------------------------------------------------------------


def test_extended_capabilities_are_the_devices(make: Make) -> None:
    chain = [(AER, 0x100), (SERIAL, 0x150), (VSEC, 0x160)]
    setting = make(make_express_device(extended=chain))
    assert extended(setting) == chain
    setting.device.config[0x164:0x168] = b"\1\2\3\4"
    assert setting.read(0x164, 4) == 0x04030201
    assert told(setting, 0x168, 4, 0x12345678) == [(0x168, 0x12345678, 4)]
    assert setting.read(0xFFC, 4) == 0
    assert told(setting, 0x160, 4, 0) == [], "the chain is fixed"


@pytest.mark.parametrize("id", [id for id, seen in EXTENDED.items() if seen.hidden])
def test_hidden_extended_ones_can_not_be_found_or_written(make: Make, id: int) -> None:
    chain = [(AER, 0x100), (id, 0x150), (SERIAL, 0x400)]
    setting = make(make_express_device(extended=chain))
    assert extended(setting) == [(AER, 0x100), (SERIAL, 0x400)]
    last = EXTENDED[id].size - 4
    assert told(setting, 0x150 + last, 4, 0xFFFFFFFF) == []
    assert told(setting, 0x154 + last, 4, 0xFFFFFFFF) != [], "what lies between is the device's"


def test_the_first_one_hidden_leaves_a_null_capability(make: Make) -> None:
    chain = [(SRIOV, 0x100), (ARI, 0x150), (SERIAL, 0x160), (REBAR, 0x170)]
    setting = make(make_express_device(extended=chain))
    assert setting.read(0x100, 4) == 0x160 << 20
    assert extended(setting) == [(SERIAL, 0x160)]
    assert setting.read(0x160, 4) == 0x00010003


def test_one_that_the_kernel_has_hidden_is_one_still(make: Make) -> None:
    """vfio-pci leaves a null capability likewise."""
    setting = make(make_express_device(extended=[(0, 0x100), (0, 0x140), (SERIAL, 0x160)]))
    assert setting.read(0x100, 4) == 0x160 << 20
    assert extended(setting) == [(SERIAL, 0x160)]


@pytest.mark.parametrize("chain", [[], [(SRIOV, 0x100)], [(SRIOV, 0x100), (ARI, 0x150)]])
def test_all_hidden_leaves_nothing(make: Make, chain: list[tuple[int, int]]) -> None:
    setting = make(make_express_device(extended=chain))
    assert setting.read(0x100, 4) == 0, "which says that there are none"


def test_a_device_behind_a_hosts_conventional_bridge(make: Make) -> None:
    """Its extended space is out of reach, but a guest expects all of PCI Express to have it."""
    device = make_express_device()
    del device.config[256:]
    setting = make(device)
    assert conventional(setting) == ALL
    assert extended(setting) == []
    assert {setting.read(at, 4) for at in range(256, 4096, 4)} == {0}
    assert told(setting, 0x100, 4, 1) == []


def test_peers_are_kept_apart_by_the_host(make: Make) -> None:
    setting = make(make_express_device(extended=[(0xD, 0x100)]))
    assert told(setting, 0x106, 2, 0x5F) == []
    assert told(setting, 0x104, 4, 0x005F0000) == [(0x104, 0, 2)]


# -- PCI Express ----------------------------------------------------------------------------------


def flags(setting: Setting) -> tuple[int, int, int]:
    """Version, type, slot implemented."""
    value = setting.read(EXPRESS_AT + 2, 2)
    return value & 15, value >> 4 & 15, value >> 8 & 1


def test_on_bus_0_an_endpoint_is_integrated(make: Make) -> None:
    setting = make(make_express_device())
    assert flags(setting) == (2, INTEGRATED, 0)
    assert setting.read(EXPRESS_AT + 0xC, 4) == 0
    assert setting.read(EXPRESS_AT + 0x10, 4) == 0
    assert setting.read(EXPRESS_AT + 0x2C, 4) == 0
    assert setting.read(EXPRESS_AT + 0x30, 4) == 0
    assert told(setting, EXPRESS_AT + 0x10, 4, 0xFFFFFFFF) == []
    assert told(setting, EXPRESS_AT + 0x30, 4, 0xFFFFFFFF) == []


def test_behind_a_port_it_is_an_endpoint_with_its_link(make: Make) -> None:
    setting = make(make_express_device(), behind=True)
    assert flags(setting) == (2, 0, 0)
    assert setting.read(EXPRESS_AT + 0xC, 4) == 0x100
    assert setting.read(EXPRESS_AT + 0x10, 4) == 0x1103 << 16 | 0x40
    assert setting.read(EXPRESS_AT + 0x2C, 4) == 0xE
    assert setting.read(EXPRESS_AT + 0x30, 4) == 1 << 16 | 3
    for register in (0x10, 0x30):
        assert told(setting, EXPRESS_AT + register, 4, 0xFFFFFFFF) == []
    setting.device.config[EXPRESS_AT + 0x13] = 0x22
    assert setting.read(EXPRESS_AT + 0x12, 2) == 0x2203, "it is read from the device"


def test_a_legacy_endpoint_on_bus_0_is_conventional(make: Make) -> None:
    setting = make(make_express_device(type=LEGACY, extended=[(SERIAL, 0x100)]))
    assert conventional(setting) == ALL[1:]
    assert setting.read(0x100, 4) == 0xFFFFFFFF
    assert told(setting, EXPRESS_AT + 8, 2, 0x8000) == [], "nor can it be reset there"
    assert ("reset",) not in setting.device.log[1:]


def test_a_legacy_endpoint_behind_a_port_is_one(make: Make) -> None:
    setting = make(make_express_device(type=LEGACY, extended=[(SERIAL, 0x100)]), behind=True)
    assert flags(setting) == (2, LEGACY, 0)
    assert extended(setting) == [(SERIAL, 0x100)]


def test_an_integrated_one_on_bus_0_is_one(make: Make) -> None:
    setting = make(make_express_device(type=INTEGRATED))
    assert flags(setting) == (2, INTEGRATED, 0)
    assert setting.read(EXPRESS_AT + 0xC, 4) == 0x100, "what is there is the device's"


def test_an_integrated_one_behind_a_port_is_given_a_link(make: Make) -> None:
    setting = make(make_express_device(type=INTEGRATED), behind=True)
    assert flags(setting) == (2, 0, 0)
    assert setting.read(EXPRESS_AT + 0xC, 4) == 0x11
    assert setting.read(EXPRESS_AT + 0x10, 4) == 0x110000


@pytest.mark.parametrize(("version", "shown"), [(0, 1), (1, 1), (2, 2)])
def test_versions(make: Make, version: int, shown: int) -> None:
    device = make_express_device(version=version)
    setting = make(device)
    assert flags(setting) == (shown, INTEGRATED, 0)
    has_link_2 = setting.read(EXPRESS_AT + 0x2C, 4) != 0
    assert has_link_2 == (version < 2), "version 1 has no such register, so it is something else"


def test_its_registers_end_where_another_capability_begins(make: Make) -> None:
    device = make_express_device()
    device.add_capability(EXPRESS_AT + 0x14, b"\x09\0\x08\x55\x66\x77\x88\x99")
    setting = make(device)
    assert setting.read(EXPRESS_AT + 0x16, 4) == 0x77665508
    assert setting.read(EXPRESS_AT + 0x10, 4) == 0


def test_device_control(make: Make) -> None:
    setting = make(make_express_device())
    assert setting.read(EXPRESS_AT + 4, 4) == 0x10008021, "no phantom functions"
    assert told(setting, EXPRESS_AT + 8, 2, 0x7EFF) == [(EXPRESS_AT + 8, 0x7DFF, 2)]
    assert told(setting, EXPRESS_AT + 9, 1, 0x02) == [(EXPRESS_AT + 9, 0x01, 1)]
    assert setting.read(EXPRESS_AT + 8, 2) == 0x01FF, "extended tags are the host's choice"
    assert told(setting, EXPRESS_AT + 8, 4, 0x000F0000) == [(EXPRESS_AT + 8, 0x000F0100, 4)]


def test_device_control_2(make: Make) -> None:
    setting = make(make_express_device())
    assert setting.read(EXPRESS_AT + 0x24, 4) == 0x10
    assert setting.read(EXPRESS_AT + 0x28, 2) == 0x400
    assert told(setting, EXPRESS_AT + 0x28, 2, 0x7035) == [(EXPRESS_AT + 0x28, 0x0415, 2)]


def test_a_device_that_can_not_be_reset_says_so(make: Make) -> None:
    device = make_express_device()
    device.add_capability(0xE0, b"\x13\0\6\3\0\0")
    device.info = device.info._replace(flags=0)
    setting = make(device)
    assert not setting.read(EXPRESS_AT + 4, 4) & 1 << 28
    assert setting.read(0xE3, 1) == 0
    setting.write(EXPRESS_AT + 8, 2, 0x8000)
    setting.write(0xE4, 1, 1)
    assert setting.device.config[0xE4] == 0
    assert not setting.device.config[EXPRESS_AT + 9] & 0x80
    assert ("reset",) not in setting.device.log


# -- others ---------------------------------------------------------------------------------------


def test_power_events_are_the_hosts(make: Make) -> None:
    setting = make(make_express_device())
    assert setting.read(PM_AT + 2, 2) == 0x0603, "no PME from any state"
    assert setting.read(PM_CONTROL, 2) == 0
    assert told(setting, PM_CONTROL, 2, 0x8100) == [(PM_CONTROL, 0, 2)]


def test_the_header(make: Make) -> None:
    device = make_express_device()
    device.config[0x0C:0x10] = 0x10, 0x20, 0x80, 0xC2
    setting = make(device)
    assert setting.read(0x0C, 4) == 0x00002010, "one function, and no self-test"
    assert told(setting, 0x0C, 4, 0x40FF4030) == [(0x0C, 0x4030, 2)]
    assert setting.read(0, 4) == 0x56781234


def test_pending_bits_that_are_nowhere(make: Make) -> None:
    """Some virtual functions have a register that points outside of the BAR."""
    device = make_device()
    device.config[MSIX_AT + 10] = 0x10
    setting = make(device)
    assert len(setting.reports) == 1
    assert "MSI-X pending bits should be where it has no BAR" in setting.reports[0]
    setting.write(4, 2, 2)
    setting.write(MSIX_AT + 2, 2, 0x8000)
    table = setting.function.bars[0].address + 0x1800
    setting.store(table, 8, 0xFEE00000)
    setting.store(table + 12, 4, 0)
    assert len(setting.vm.irqfds) == 1, "its vectors work all the same"
