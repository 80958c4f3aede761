# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The expansion ROM of an assigned device: its own, one from a file, or none."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.pci.errors import BadRom
from pyvmm.pci.rom import LARGEST, fit, read_rom_file
from pyvmm.vfio import DeviceError, DeviceGone
from tests.unit.pci.conftest import COMMAND, MEMORY, Setting, make_device
from tests.unit.pci.fake_device import ROM, FakeDevice

Make = Callable[..., Setting]
ENABLE = 1


def image(length: int = 2048, vendor: int = 0x1234, device: int = 0x5678) -> bytes:
    """A ROM with a PCI data structure at 0x40, whose checksum is right."""
    content = bytearray(i * 7 & 0xFF for i in range(length))
    content[0:3] = 0x55, 0xAA, length // 512
    content[0x18:0x1A] = 0x40, 0
    content[0x40:0x48] = b"PCIR" + vendor.to_bytes(2, "little") + device.to_bytes(2, "little")
    content[6] = 0
    content[6] = -sum(content) & 0xFF
    return bytes(content)


def shown(make: Make, device: FakeDevice | None = None, **options: object) -> tuple[Setting, int]:
    """A machine that has its ROM enabled, and where that is."""
    setting = make(device, **options)
    setting.write(COMMAND, 2, MEMORY)
    address = setting.function.bars[-1].address
    setting.write(0x30, 4, address | ENABLE)
    return setting, address


def reads(setting: Setting) -> int:
    return len([each for each in setting.device.accesses if each[:2] == ("read", ROM)])


# -- as the guest has it --------------------------------------------------------------------------


def test_the_devices_own_is_read_once_and_when_it_is_wanted(make: Make) -> None:
    device = make_device()
    device.contents[ROM][:2048] = image()
    setting, rom = shown(make, device)
    assert reads(setting) == 0
    assert [setting.load(rom + at, 2) for at in (0, 0x42, 0x44)] == [0xAA55, 0x5249, 0x1234]
    assert setting.load(rom + 0xFFC, 4) == 0
    setting.store(rom, 4, 0)
    assert setting.load(rom, 2) == 0xAA55
    assert reads(setting) == 1
    device.contents[ROM][0x100] = 0x99
    setting.function.reset()
    setting.write(COMMAND, 2, MEMORY)
    setting.write(0x30, 4, rom | ENABLE)
    assert setting.load(rom + 0x100, 1) == 0x99, "a reset may have changed it"


def test_one_from_a_file_instead(make: Make) -> None:
    setting, rom = shown(make, rom=image(3072))
    assert setting.read(0x30, 4) == rom | ENABLE
    setting.write(0x30, 4, 0xFFFFFFFE)
    assert setting.read(0x30, 4) == 0xFFFFF000, "a power of two"
    setting.write(0x30, 4, rom | ENABLE)
    assert setting.load(rom, 4) == int.from_bytes(image(3072)[:4], "little")
    assert setting.load(rom + 3068, 4) == int.from_bytes(image(3072)[3068:], "little")
    assert setting.load(rom + 3072, 4) == 0xFFFFFFFF
    assert reads(setting) == 0


def test_none(make: Make) -> None:
    setting = make(rom=b"")
    assert len(setting.function.bars) == 4
    setting.write(0x30, 4, 0xFFFFFFFF)
    assert setting.read(0x30, 4) == 0


def test_one_for_a_device_that_has_none(make: Make) -> None:
    device = FakeDevice()
    setting, rom = shown(make, device, rom=image())
    assert setting.load(rom, 2) == 0xAA55


def test_a_rom_that_can_not_be_read(make: Make) -> None:
    class Device(FakeDevice):
        def region_read(self, index: int, offset: int, size: int) -> bytes:
            if index == ROM:
                raise DeviceError("reading the ROM of fake: EIO", 5)
            return super().region_read(index, offset, size)

    setting, rom = shown(make, make_device(Device))
    assert setting.load(rom, 4) == setting.load(rom + 8, 4) == 0xFFFFFFFF
    assert setting.function.guard.counts == {"expansion ROM not read": 1}
    assert setting.reports == ["reading the ROM of fake: EIO"]


def test_a_device_that_is_lost_while_its_rom_is_read(make: Make) -> None:
    setting, rom = shown(make)
    setting.device.refuse = DeviceGone("the server died")
    assert setting.load(rom, 4) == 0xFFFFFFFF
    assert setting.function.guard.gone is setting.device.refuse
    setting.device.refuse = None


def test_vcpus_that_all_read_it_at_first(make: Make) -> None:
    go_on = threading.Event()

    class Device(FakeDevice):
        def region_read(self, index: int, offset: int, size: int) -> bytes:
            if index == ROM:
                assert go_on.wait(30)
            return super().region_read(index, offset, size)

    setting, rom = shown(make, make_device(Device))
    setting.device.contents[ROM][0:2] = b"\x55\xaa"
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(setting.load(rom, 2))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [0xAA55] * 3
    assert reads(setting) == 1


# -- a ROM for another device of the vendor's -----------------------------------------------------


def test_it_is_made_to_fit() -> None:
    fitted = fit(image(device=0x1111) + b"second image", 0x1234, 0x5678)
    assert fitted[0x46:0x48] == b"\x78\x56"
    assert sum(fitted[:2048]) & 0xFF == 0
    assert fitted[2048:] == b"second image"
    changed = [at for at, byte in enumerate(image(device=0x1111)) if fitted[at] != byte]
    assert set(changed) <= {6, 0x46, 0x47}


@pytest.mark.parametrize(
    "rom",
    [
        image(),
        image(vendor=0x4321, device=1),
        b"",
        b"\x55\xaa",
        b"\x55\xaa\4" + bytes(0x15) + b"\xff\xff" + bytes(2000),
        image(device=1)[:0x50],
        b"\x55\xab" + image(device=1)[2:],
        image(device=1).replace(b"PCIR", b"PCIE"),
    ],
)
def test_others_stay_as_they_are(rom: bytes) -> None:
    assert fit(rom, 0x1234, 0x5678) == rom


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rom"
    file.write_bytes(image())
    assert read_rom_file(str(file)) == image()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is no expansion ROM"),
        (b"\x55", "it is no expansion ROM"),
        (b"MZ" + bytes(2046), "it doesn't begin with 55 aa"),
        (b"\x55\xaa", "its first image has 0 bytes, and it has 2"),
        (image()[:2047], "its first image has 2048 bytes, and it has 2047"),
        (image() + bytes(LARGEST), "it has more than 16 MiB"),
    ],
    ids=["empty", "tiny", "another kind", "no length", "cut off", "too large"],
)
def test_what_is_no_rom(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "rom"
    file.write_bytes(content)
    with pytest.raises(BadRom, match=says) as caught:
        read_rom_file(str(file))
    assert str(caught.value).startswith(f"rom {file}: ")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadRom, match="No such file"):
        read_rom_file(str(tmp_path / "rom"))
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(BadRom, match=r"it is no file|Is a directory"):
            read_rom_file(str(path))
