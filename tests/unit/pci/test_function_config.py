# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The configuration space of an assigned device: whose bits are whose, and what is fixed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.errors import BadDevice
from tests.unit.pci.conftest import (
    COMMAND,
    MASTER,
    MSI_AT,
    MSIX_AT,
    NO_INTX,
    VENDOR_AT,
    Setting,
    dead,
    make_device,
)
from tests.unit.pci.fake_device import CONFIG, INTX, MSI, MSIX, FakeDevice


def test_identity_and_unknown_capabilities_are_the_devices(setting: Setting) -> None:
    assert setting.read(0, 4) == 0x56781234
    assert setting.read(VENDOR_AT, 4) == 0x01080009
    setting.device.accesses.clear()
    setting.write(VENDOR_AT + 4, 4, 0xDEADBEEF)
    setting.write(VENDOR_AT + 5, 1, 0x11)
    assert setting.device.accesses == [
        ("write", CONFIG, VENDOR_AT + 4, 0xDEADBEEF, 4),
        ("write", CONFIG, VENDOR_AT + 5, 0x11, 1),
    ]
    assert setting.read(VENDOR_AT + 4, 4) == 0xDEAD11EF


@pytest.mark.parametrize("size", [256, 4096])
def test_a_conventional_function_has_no_extended_space(
    make: Callable[..., Setting], size: int
) -> None:
    device = make_device()
    del device.config[size:]
    setting = make(device)
    assert setting.read(0x100, 4) == 0xFFFFFFFF
    setting.write(0x100, 4, 0)
    assert setting.read(0xFC, 4) == 0


def test_the_capability_chain_is_fixed(setting: Setting) -> None:
    pointers = setting.read(0x34, 1), setting.read(MSI_AT + 1, 1), setting.read(MSIX_AT + 1, 1)
    assert pointers == (MSI_AT, MSIX_AT, VENDOR_AT)
    setting.device.config[VENDOR_AT + 1] = MSI_AT
    assert setting.read(VENDOR_AT + 1, 1) == 0, "no guest is led in circles"


def test_interrupt_line_shows_the_gsi_and_the_pin_is_fixed(setting: Setting) -> None:
    assert setting.read(0x3C, 2) == 2 << 8 | 16
    setting.write(0x3C, 2, 0x040B)
    assert setting.read(0x3C, 2) == 2 << 8 | 11, "software may keep a number of its own there"


def test_a_device_without_intx_for_us_has_no_pin(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.kinds[INTX].count = 0
    setting = make(device)
    assert setting.read(0x3C, 2) == 0
    assert setting.device.log == [("reset",)]


def test_command_bits_are_ours_and_told_to_the_device(setting: Setting) -> None:
    setting.device.config[COMMAND : COMMAND + 2] = 0x47, 0x01
    assert setting.read(COMMAND, 2) == 0x0140, "decoding is off until the guest turns it on"
    setting.device.accesses.clear()
    setting.write(COMMAND, 2, NO_INTX | MASTER | 0x100)
    assert ("write", CONFIG, COMMAND, NO_INTX | MASTER | 0x100, 2) in setting.device.accesses
    assert setting.read(COMMAND, 2) == NO_INTX | MASTER | 0x100


def test_bars_are_sized_without_asking_the_device(setting: Setting) -> None:
    setting.device.accesses.clear()
    sizes = []
    for at in (0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x30):
        before = setting.read(at, 4)
        setting.write(at, 4, 0xFFFFFFFF)
        sizes.append(setting.read(at, 4))
        setting.write(at, 4, before)
    assert sizes == [0xFFFF8000, 0xFFFFFFC1, 0xFFFF000C, 0xFFFFFFFF, 0xFFFFFF00, 0, 0xFFFFF001]
    assert setting.device.accesses == []


def test_msi_without_vectors_is_hidden(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.kinds[MSI].count = 0
    device.kinds[MSIX].count = 0
    setting = make(device)
    assert setting.read(0x34, 1) == VENDOR_AT
    assert setting.read(VENDOR_AT, 2) == 0x0009


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.config.__setitem__(slice(0, 4), b"\xff" * 4), "does not answer"),
        (dead, "does not answer"),
        (lambda d: d.config.__setitem__(0x0E, 0x81), "is a bridge"),
        (lambda d: d.config.__delitem__(slice(64, None)), "64 bytes of configuration space"),
        (lambda d: d.config.__setitem__(MSIX_AT + 4, 3), "MSI-X table .* BAR 3"),
        (lambda d: d.add_region(5, 0x1000, register=4), "BAR 5: there is no such"),
        (lambda d: d.add_capability(0xEC, b"\x05\0\x80\x01"), "MSI capability at 0xec is cut off"),
        (lambda d: d.add_capability(MSI_AT + 8, b"\x09\0"), "MSI capability at 0x50 is cut off"),
        (lambda d: d.add_capability(0xFC, b"\x01\0"), "power management .* at 0xfc is cut off"),
        (lambda d: d.add_capability(0xFC, b"\x13\0"), "advanced features .* at 0xfc is cut off"),
        (lambda d: d.add_capability(0xF8, b"\x10\0"), "PCI Express .* at 0xf8 is cut off"),
        (lambda d: d.add_capability(0xA0, b"\x10\0\x42\0"), "no endpoint .*type 0x4"),
        (lambda d: d.add_capability(0xF8, b"\x11\0\0\0"), "MSI-X capability at 0xf8 is cut off"),
        (lambda d: d.add_region(4, 1 << 33), "too many for 32-bit memory"),
    ],
)
def test_what_can_not_be_true_is_refused(
    no_leaks: None, change: Callable[[FakeDevice], None], says: str
) -> None:
    device = make_device()
    if "too many" in says:
        device.regions[4] = device.regions[4]._replace(size=1 << 33)
    else:
        change(device)
    with pytest.raises(BadDevice, match=says):
        Setting(device)


@given(
    content=st.binary(min_size=192, max_size=192),
    flags=st.binary(min_size=24, max_size=24),
    size=st.sampled_from([256, 4096]),
)
def test_no_configuration_space_breaks_anything(content: bytes, flags: bytes, size: int) -> None:
    device = make_device()
    del device.config[size:]
    device.config[0x40:0x100] = content
    device.config[0x10:0x28] = flags
    device.config[0x34] = content[0]
    try:
        setting = Setting(device)
    except BadDevice:
        return
    try:
        for offset in range(0, 4096, 4):
            setting.write(offset, 4, 0xFFFFFFFF)
            setting.read(offset, 4)
        assert setting.function.guard.counts.keys() <= {"BARs on top of something else"}
    finally:
        setting.close()
