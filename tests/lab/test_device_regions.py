# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Regions of real devices: what they are, and every way to get at them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_MSIX,
    PCI_COMMAND,
    PCI_COMMAND_MEMORY,
    PCI_MSIX_TABLE,
    PCI_MSIX_TABLE_BIR,
)
from pyvmm.uapi.vfio import (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_ROM_REGION_INDEX,
    VFIO_PCI_VGA_REGION_INDEX,
)
from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.kernel import KernelDevice
from pyvmm.vfio.pci_capabilities import capabilities
from tests.lab.registers import BAR0, REGISTERS, read32, write32

CONFIG, ROM, VGA = (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_ROM_REGION_INDEX,
    VFIO_PCI_VGA_REGION_INDEX,
)
PAGE = Interval(0, 0x1000)


def config_read(device: KernelDevice, offset: int, size: int) -> int:
    return int.from_bytes(device.region_read(CONFIG, offset, size), "little")


def sysfs(device: KernelDevice, name: str) -> Path:
    return Path("/sys/bus/pci/devices") / device.name / name


def test_each_region_is_what_sysfs_says(device: KernelDevice) -> None:
    assert device.info.pci
    regions = device.regions
    assert [region.index for region in regions] == list(range(device.info.num_regions))
    assert [region.note for region in regions] == [""] * len(regions)
    lines = sysfs(device, "resource").read_text().splitlines()
    for region, line in zip(regions[:ROM], lines, strict=False):
        start, end, flags = (int(field, 16) for field in line.split())
        assert region.size == (end - start + 1 if end else 0)
        assert bool(region.areas) == bool(flags & 0x200), "memory, and no ports, can be mapped"
        assert region.areas in ((), (Interval(0, region.size),))
        assert region.readable == region.writable == (region.size > 0)
    assert regions[CONFIG].size == sysfs(device, "config").stat().st_size
    assert not regions[CONFIG].areas
    assert not regions[ROM].writable
    assert regions[VGA].size == 0
    found = capabilities(lambda offset, size: config_read(device, offset, size))
    table = next((c.offset for c in found if c.id == PCI_CAP_ID_MSIX), 0)
    bar = config_read(device, table + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_BIR if table else -1
    assert [region.index for region in regions if region.msix_mappable] == [bar] * (bar >= 0)


def test_access_in_all_widths(device: KernelDevice, kind: str) -> None:
    expected = sysfs(device, "config").read_bytes()
    for size in (1, 2, 4, 8):
        whole = b"".join(device.region_read(CONFIG, at, size) for at in range(0, 64, size))
        assert whole[:4] == expected[:4]
        assert whole[8:16] == expected[8:16]
    rom = device.region_info(ROM).size
    if rom:
        assert device.region_read(ROM, 0, 2) == b"\x55\xaa"
        assert len(device.region_read(ROM, 0, rom)) == rom
    registers = REGISTERS[kind]
    with device.map_region(BAR0, PAGE) as mapping:
        words = mapping.view.cast("I")
        for value in (0, 0x00120034 & registers.scratch_mask):
            write32(device, registers.scratch, value)
            assert read32(device, registers.scratch) == registers.scratch_reads(value)
            assert words[registers.scratch // 4] == registers.scratch_reads(value)
        words[registers.scratch // 4] = 0x21
        assert read32(device, registers.scratch) == registers.scratch_reads(0x21)
        if kind == "nvme":  # whose registers know widths
            full = device.region_read(BAR0, 0, 8)
            for size in (1, 2, 4):
                parts = (device.region_read(BAR0, at, size) for at in range(0, 8, size))
                assert b"".join(parts) == full
            address = bytes([0, *range(0x10, 0x17)])
            device.region_write(BAR0, 0x28, address)
            assert device.region_read(BAR0, 0x28, 8) == address
        words.release()


def test_all_of_each_area_can_be_mapped(device: KernelDevice) -> None:
    for region in device.regions:
        for area in region.areas:
            with device.map_region(region.index, area) as mapping:
                assert mapping.size == area.size


def test_hostile_accesses_are_refused(device: KernelDevice, kind: str) -> None:
    for index, info in enumerate(device.regions):
        for offset, size in ((info.size, 1), (info.size - 1, 2), (-1, 4), (1 << 40, 4)):
            with pytest.raises(DeviceError, match=f"reading .* of region {index}") as caught:
                device.region_read(index, offset, size)
            assert caught.value.errno == errno.EINVAL
            with pytest.raises(DeviceError, match=f"writing .* of region {index}"):
                device.region_write(index, offset, bytes(size))
        for area in (Interval(0, 0), Interval(1, 0x1001), Interval(0, info.size + 0x1000)):
            with pytest.raises(DeviceError, match="mapping"):
                device.map_region(index, area)
    if device.region_info(ROM).size:
        with pytest.raises(DeviceError, match="read-only"):
            device.region_write(ROM, 0, b"\0")
    command = config_read(device, PCI_COMMAND, 2)
    off = command & ~PCI_COMMAND_MEMORY
    device.region_write(CONFIG, PCI_COMMAND, off.to_bytes(2, "little"))
    with pytest.raises(DeviceError, match="memory space is disabled") as caught:
        device.region_read(BAR0, 0, 4)
    assert caught.value.errno == errno.EIO
    with pytest.raises(DeviceError, match="memory space is disabled"):
        write32(device, REGISTERS[kind].scratch, 0)
    device.region_write(CONFIG, PCI_COMMAND, command.to_bytes(2, "little"))
    read32(device, 0)
