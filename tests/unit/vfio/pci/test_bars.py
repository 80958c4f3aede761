# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""BARs, mapped and not: the same bytes at the same offsets, whichever way they are reached."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pyvmm.models import testdev
from pyvmm.models.testdev import ID
from pyvmm.uapi.vfio import VFIO_REGION_INFO_FLAG_WRITE
from pyvmm.vfio import BadAccess, DeviceError, DeviceGone, Interval, PciDevice

RAM = Interval(0x4000, 0xC000)


def test_what_bars_there_are(dev: PciDevice) -> None:
    assert [bar.size for bar in dev.bars] == [0x10000, 0x100, 0x200000, 0, 0x100, 0x80]
    assert [bar.io for bar in dev.bars] == [False, True, False, False, False, False]
    assert dev.bars[2].wide
    assert dev.bars[2].prefetchable
    assert not dev.bars[0].wide
    assert not dev.bars[0].prefetchable
    assert dev.bars[0].areas == (RAM,)
    assert dev.rom.size == 0x1000


def test_registers_by_calls_of_each_width(dev: PciDevice) -> None:
    bar = dev.bars[0]
    assert bar.u32[0x00] == ID
    bar.u8[0x08] = 0x11
    bar.u16[0x0A] = 0x2233
    assert bar.u32[0x08] == 0x22330011
    bar.u64[0x20] = 0x1122334455667788
    assert bar.u64[0x20] == 0x1122334455667788
    assert bar.u32[0x24] == 0x11223344


def test_bytes_by_calls(dev: PciDevice) -> None:
    dev.bars[2].write(0x1003, b"hello")
    assert dev.bars[2].read(0x1002, 7) == b"\0hello\0"
    assert dev.rom.read(0x10, 17) == b"pyvmm testdev rom"


@pytest.mark.parametrize(("offset", "size"), [(-1, 4), (0, 0), (0x1000, 1), (0xFFE, 4), (0, -1)])
def test_bytes_that_are_not_there(dev: PciDevice, offset: int, size: int) -> None:
    with pytest.raises(BadAccess, match="ROM: reading"):
        dev.rom.read(offset, size)


def test_a_bar_that_is_not_there(dev: PciDevice) -> None:
    with pytest.raises(BadAccess, match="BAR 3: reading 4 bytes at 0x0: it has 0x0"):
        dev.bars[3].u32[0]
    with pytest.raises(BadAccess, match="BAR 3: mapping it: the device has no such BAR"):
        dev.bars[3].map()


def test_mapped_and_unmapped_parts_of_one_bar(dev: PciDevice, model: testdev.TestDevice) -> None:
    with dev.bars[0].map() as bar:
        assert bar.areas == (RAM,)
        traps = bar.u32[0x0C]
        for width in (1, 2, 4, 8):
            bar.words(width)[0x4008] = width
            assert bar.words(width)[0x4008] == width
        bar.u32[0xBFFC] = 0xCAFE
        assert bar.u32[0x0C] == traps + 1, "of all these only the counter itself has trapped"
        assert model.region_read(0, 0xBFFC, 4) == b"\xfe\xca\0\0"
        assert bar.u32[0x00] == ID
        assert bar.u32[0xC000] == 0


def test_one_area(dev: PciDevice) -> None:
    with dev.bars[2].map(Interval(0x1000, 0x3000)) as bar:
        bar.u32[0x1000] = 7
        assert dev.bars[2].u32[0x1000] == 7
        assert bar.view.nbytes == 0x2000
        bar.view[4:9] = b"hello"
        assert dev.bars[2].read(0x1004, 5) == b"hello"
        for offset in (0x0, 0xFFC, 0x3000):
            with pytest.raises(BadAccess, match="not in the mapped"):
                bar.u32[offset]
            with pytest.raises(BadAccess, match="not in the mapped"):
                bar.u32[offset] = 0


def test_an_area_that_cannot_be_mapped(dev: PciDevice) -> None:
    with pytest.raises(DeviceError):
        dev.bars[0].map(Interval(0, 0x1000))


def test_a_bar_that_is_read_only(
    model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = model.region_info(2)
    read_only = info._replace(flags=info.flags & ~VFIO_REGION_INFO_FLAG_WRITE)
    monkeypatch.setattr(
        model,
        "region_info",
        lambda index: read_only if index == 2 else type(model).region_info(model, index),
    )
    with PciDevice(model) as dev:
        for bar in (dev.bars[2].map(), dev.bars[2].map(Interval(0, 0x1000))):
            assert bar.u32[0x10] == 0
            with pytest.raises(DeviceError):
                bar.u32[0x10] = 1
            assert bar.view.readonly


def test_mappings_that_nobody_has_any_more_are_gone(dev: PciDevice) -> None:
    def mapped() -> int:
        gc.collect()
        return Path("/proc/self/maps").read_text().count("memfd:")

    before = mapped()
    for _ in range(10):
        dev.bars[2].map().u32[0] = 1
    assert mapped() == before


def test_the_view_is_of_one_area(dev: PciDevice, edu: PciDevice) -> None:
    assert dev.bars[0].map().view.nbytes == RAM.size
    with pytest.raises(BadAccess, match="lets nothing be mapped"):
        edu.bars[0].map().view  # noqa: B018


def test_a_closed_mapping(dev: PciDevice) -> None:
    bar = dev.bars[0].map()
    view = bar.view
    view[0] = 5
    bar.close()
    bar.close()
    with pytest.raises(DeviceGone, match="the mapping is closed"):
        bar.u32[0x4000]
    with pytest.raises(DeviceGone, match="the mapping is closed"):
        bar.u32[0] = 0
    assert view[0] == 5, "a view that is held stays good"


def test_the_device_closes_what_was_mapped(dev: PciDevice) -> None:
    bar = dev.bars[0].map()
    dev.close()
    with pytest.raises(DeviceGone):
        bar.u32[0x4000]
