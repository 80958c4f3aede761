# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Configuration space by name: the header, capabilities, and chains that make no sense."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.models import testdev
from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_EXP,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CAP_ID_PM,
    PCI_CAP_ID_VNDR,
    PCI_CAPABILITY_LIST,
    PCI_EXT_CAP_ID_DSN,
    PCI_EXT_CAP_ID_VNDR,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
)
from pyvmm.vfio import BadAccess, PciDevice
from pyvmm.vfio.pci import Config, Window, conventional, extended, named_registers
from pyvmm.vfio.pci.capability import Capability
from pyvmm.vfio.pci.conventional import Express, Msi, MsiX, PowerManagement, Vendor
from pyvmm.vfio.pci.extended import AdvancedErrors, SerialNumber, VendorExtended


def test_the_header(dev: PciDevice) -> None:
    config = dev.config
    assert (config.vendor_id, config.device_id) == (0x1234, 0x7E57)
    assert (config.class_code, config.revision_id) == (0xFF0000, 1)
    assert (config.subsystem_vendor_id, config.subsystem_id) == (0x1234, 0x0001)
    assert config.header_layout == 0
    assert config.interrupt_pin == 1
    assert config.capability_list
    assert config.capability_pointer == 0x40
    assert config.size == 4096


def test_flags_of_the_command_register(dev: PciDevice) -> None:
    dev.config.intx_disable = True
    assert dev.config.command == 0x0407
    dev.config.bus_master = False
    assert dev.config.command == 0x0403


def test_registers_by_offset(dev: PciDevice) -> None:
    assert dev.config.u16[0] == 0x1234
    assert dev.config.u32[0] == 0x7E571234
    dev.config.u8[0x3C] = 0x55
    assert dev.config.interrupt_line == 0x55


def test_all_capabilities(dev: PciDevice) -> None:
    found = dev.config.capabilities
    assert [(cap.id, cap.offset, cap.extended) for cap in found] == [
        (PCI_CAP_ID_PM, 0x40, False),
        (PCI_CAP_ID_MSI, 0x50, False),
        (PCI_CAP_ID_MSIX, 0x70, False),
        (PCI_CAP_ID_VNDR, 0x80, False),
        (PCI_CAP_ID_EXP, 0x90, False),
        (PCI_EXT_CAP_ID_DSN, 0x100, True),
        (PCI_EXT_CAP_ID_VNDR, 0x110, True),
    ]
    assert [cap.name for cap in found[1:3]] == ["MSI", "MSI-X"]
    assert [cap.size for cap in found] == [0x10, 0x20, 0x10, 0x10, 0x70, 0x10, 0xEF0]
    assert repr(found[-1]) == "<extended capability 0x0b at 0x110: Vendor-Specific Extended>"


def get(dev: PciDevice, kind: type[Capability]) -> Capability:
    found = dev.config.find(kind)
    assert found is not None
    return found


def test_power_management(dev: PciDevice) -> None:
    power = dev.config.find(PowerManagement)
    assert power
    assert (power.pm_version, power.state, power.no_soft_reset) == (3, 0, True)


def test_msi(dev: PciDevice) -> None:
    msi = dev.config.find(Msi)
    assert msi
    assert (msi.vectors_log2, msi.wide, msi.maskable, msi.enable) == (3, True, True, False)
    assert (msi.address, msi.data, msi.mask, msi.pending) == (0, 0, 0, 0)


def test_msi_of_32_bits_without_masks(edu: PciDevice) -> None:
    msi = edu.config.find(Msi)
    assert msi
    if not msi.maskable:
        with pytest.raises(BadAccess, match="can't be masked"):
            msi.mask  # noqa: B018


def test_msix(dev: PciDevice) -> None:
    msix = dev.config.find(MsiX)
    assert msix
    assert msix.last_vector == 63
    assert (msix.table_bar, msix.table_offset) == (0, 0x800)
    assert (msix.pending_bar, msix.pending_offset) == (0, 0xC00)


def test_vendor_specific_ones(dev: PciDevice) -> None:
    vendor, far = dev.config.find(Vendor), dev.config.find(VendorExtended)
    assert vendor
    assert far
    assert (vendor.length, len(vendor.data)) == (16, 13)
    vendor.u8[15] = 0x77
    assert vendor.data[-1] == 0x77
    assert (far.vsec_id, far.vsec_revision, far.length, len(far.data)) == (0x7E57, 1, 24, 16)


def test_express_and_serial_number(dev: PciDevice) -> None:
    express, serial = dev.config.find(Express), dev.config.find(SerialNumber)
    assert express
    assert serial
    assert (express.express_version, express.type, express.function_level_reset) == (2, 0, True)
    assert serial.serial == 0x0123456789ABCDEF
    assert serial.version == 1


def test_one_that_the_device_does_not_have(dev: PciDevice) -> None:
    assert dev.config.find(AdvancedErrors) is None


def test_a_capability_ends_where_the_next_begins(model: testdev.TestDevice, dev: PciDevice) -> None:
    model.config.data[0x44] = PCI_CAP_ID_VNDR  # in the middle of power management
    model.config.data[0x45] = 0x50
    model.config.data[0x41] = 0x44
    power = dev.config.find(PowerManagement)
    assert power
    assert power.size == 4
    assert [name for name, _ in named_registers(power)] == ["capabilities"]
    with pytest.raises(BadAccess):
        power.control  # noqa: B018


@pytest.mark.parametrize("classes", [conventional.CLASSES, extended.CLASSES])
def test_no_registers_of_a_class_overlap(classes: dict[int, type[Capability]]) -> None:
    kinds: set[type[Window]] = {Config, *classes.values()}
    for kind in kinds:
        taken: dict[int, str] = {}
        for name, value in vars(kind).items():
            if hasattr(value, "write_1_to_clear"):
                for byte in range(value.offset, value.offset + value.width):
                    assert byte not in taken, f"{kind.__name__}: {name} and {taken[byte]}"
                    taken[byte] = name
                masks = [field.mask for field in value.fields.values()]
                assert all(0 < mask < 1 << 8 * value.width for mask in masks)


@given(st.integers(0, 1 << 64), st.integers(1, 40))
def test_no_contents_make_the_walk_loop_or_crash(seed: int, links: int) -> None:
    """Every register of every capability that is found can be read, too."""
    random = Random(seed)
    with PciDevice(testdev.TestDevice("testdev")) as dev:
        model = dev.device
        assert isinstance(model, testdev.TestDevice)
        data = model.config.data
        data[0x40:] = random.randbytes(4096 - 0x40)
        model.config.set_u16(PCI_STATUS, PCI_STATUS_CAP_LIST)
        places = [random.randrange(0x40, 0x100, 4) for _ in range(links)]
        ids = [*conventional.CLASSES, 0x15, 0xFE]
        for offset in places:
            model.config.set_u16(offset, random.choice(places) << 8 | random.choice(ids))
        data[PCI_CAPABILITY_LIST] = places[0]
        places = [0x100, *(random.randrange(0x100, 0x1000, 4) for _ in range(links))]
        ids = [*extended.CLASSES, 0xFFF]
        for offset in places:
            model.config.set_u32(offset, random.choice(places) << 20 | random.choice(ids))
        found = dev.config.capabilities
        assert len({cap.offset for cap in found}) == len(found) <= 48 + 960
        for cap in found:
            assert cap.offset + cap.size <= 4096
            for _, register in named_registers(cap):
                assert 0 <= register.__get__(cap, type(cap)) < 1 << 8 * register.width
            if isinstance(cap, Vendor | VendorExtended):
                assert len(cap.data) < cap.size


def test_a_device_that_answers_nothing_has_no_capabilities(
    dev: PciDevice, model: testdev.TestDevice
) -> None:
    model.config.data[:] = b"\xff" * 4096
    assert dev.config.capabilities == []
    assert dev.config.vendor_id == 0xFFFF
