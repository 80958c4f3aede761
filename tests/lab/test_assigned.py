# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a guest sees of real devices: configuration space and BARs, and what it can do there."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest

from pyvmm.pci.allocator import Windows, place
from pyvmm.pci.config_table import CONVENTIONAL, EXTENDED, Seen
from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_EXP,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CAP_ID_PM,
    PCI_ERR_COR_MASK,
    PCI_ERR_UNCOR_MASK,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL2,
    PCI_EXP_FLAGS,
    PCI_EXP_FLAGS_TYPE,
    PCI_EXP_LNKCAP,
    PCI_EXP_LNKCTL,
    PCI_EXP_TYPE_ENDPOINT,
    PCI_EXP_TYPE_RC_END,
    PCI_EXT_CAP_ID_ARI,
    PCI_EXT_CAP_ID_ERR,
    PCI_EXT_CAP_ID_SRIOV,
    PCI_MSI_FLAGS,
    PCI_PM_CTRL,
)
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
from pyvmm.vfio import Interval
from pyvmm.vfio.kernel import KernelDevice, open_device
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities
from tests.conftest import ROOT
from tests.lab.profiles import BY_NAME
from tests.unit.pci.conftest import COMMAND, MASTER, MEMORY, Setting, device_regions

CONFIG, ROM = VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
PAGE, HUGE = 1 << 12, 2 << 20
STATUS = 0x06

GetDevice = Callable[[str], str]
everywhere = pytest.mark.profiles("6.12", "igb")
with_more_bars = pytest.mark.profiles("igb")


def run(guest: str, bdfs: Sequence[str]) -> list[str]:
    """Boot a guest with these devices; what it says, if it passes."""
    devices = ", ".join(f'{{host: "{bdf}"}}' for bdf in bdfs)
    command = [sys.executable, "-m", "pyvmm", "run", "configs/lspci.yaml"]
    for key, value in (("kernel", f"guests/build/{guest}.elf"), ("devices", f"[{devices}]")):
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if "FAIL" in line] == []
    assert (done.returncode, done.stderr, lines[-1:]) == (0, "", ["PASS"])
    return lines


def listed(lines: Sequence[str], word: str) -> list[tuple[int, int]]:
    """(id, offset) of the capabilities in a guest's list."""
    parts = [line.replace(":", "").split() for line in lines if line.startswith(f"    {word} 0x")]
    at = len(word.split())
    return [(int(part[at + 1], 16), int(part[at], 16)) for part in parts]


def shown(chain: Sequence[tuple[int, int, int]], table: dict[int, Seen]) -> list[tuple[int, int]]:
    return [(kind, at) for kind, at, _ in chain if not table.get(kind, Seen()).hidden]


def config_of(device: KernelDevice) -> Callable[[int, int], int]:
    def read(offset: int, size: int) -> int:
        return int.from_bytes(device.region_read(CONFIG, offset, size), "little")

    return read


# -- with a guest ---------------------------------------------------------------------------------


@pytest.mark.proof
@everywhere
@pytest.mark.usefixtures("guests")
def test_capabilities(profile: str, lab_device: GetDevice) -> None:
    """Of each function those of the device itself, but for what is hidden."""
    bdfs = [lab_device(kind) for kind in BY_NAME[profile].kinds]
    lines = run("lspci", bdfs)
    starts = [at for at, line in enumerate(lines) if line[2:3] == ":"]
    for bdf, start, end in zip(bdfs, starts[1:], [*starts[2:], None], strict=True):
        with open_device(bdf) as device:
            read = config_of(device)
            conventional = shown(capabilities(read), CONVENTIONAL)
            size = device.region_info(CONFIG).size
            whole = extended_capabilities(read, size)
            extended = shown(whole, EXTENDED)
        assert listed(lines[start:end], "capability") == conventional
        assert listed(lines[start:end], "extended capability") == extended
        if profile == "igb":
            hidden = {kind for kind, _, _ in whole} - {kind for kind, _ in extended}
            assert hidden == {PCI_EXT_CAP_ID_ARI, PCI_EXT_CAP_ID_SRIOV}


@pytest.mark.proof
@everywhere
@pytest.mark.usefixtures("guests")
def test_power_states_and_resets(profile: str, lab_device: GetDevice) -> None:
    """A vCPU that touches the memory of a device that VFIO has taken away would end the guest."""
    lines = run("states", [lab_device(kind) for kind in BY_NAME[profile].kinds])
    assert sum("D3hot: its memory reads all-ones" in line for line in lines) > 0
    assert sum("reset: it decodes nothing" in line for line in lines) > 0


# -- without a guest, on the device itself --------------------------------------------------------


@pytest.fixture
def assign(lab_device: GetDevice) -> Iterator[Callable[..., Setting]]:
    """assign(kind): a machine without a KVM that has the device, decoding memory."""
    with contextlib.ExitStack() as stack:

        def assign(kind: str, **options: object) -> Setting:
            setting = Setting(open_device(lab_device(kind)), **options)  # type: ignore[arg-type]
            stack.callback(setting.close)
            place(setting.bus.functions, Windows(16 << 20, 40))
            setting.function.reset()
            setting.write(COMMAND, 2, MEMORY | MASTER)
            return setting

        yield assign


@everywhere
def test_a_guest_that_writes_all_ones_everywhere(kind: str, assign: Callable[..., Setting]) -> None:
    """Resets, sleep, BARs at the end of the world: a reset of the machine undoes all of it."""
    setting = assign(kind)
    chains = capabilities(setting.read), extended_capabilities(setting.read)
    first = restored(setting)
    for size in (4, 2, 1):
        for offset in range(0, 4096, size):
            setting.write(offset, size, (1 << 8 * size) - 1)
    assert (capabilities(setting.read), extended_capabilities(setting.read)) == chains
    assert device_regions(setting) == []
    setting.function.reset()
    setting.write(COMMAND, 2, MEMORY | MASTER)
    assert setting.function.guard.gone is None
    assert restored(setting) == first
    assert len(device_regions(setting)) > 0
    # The kernel makes no interrupts for a device that sleeps.
    assert setting.function.guard.counts.keys() <= {
        "BARs on top of something else",
        "interrupt changes refused",
    }


def restored(setting: Setting) -> dict[str, bytes]:
    """What the device itself has in the registers that a guest may write, and in the header."""

    def read(offset: int, size: int) -> bytes:
        return setting.device.region_read(CONFIG, offset, size)

    found = {"header": read(0, STATUS) + read(8, 8), "rest": read(0x28, 8) + read(0x34, 8)}
    for kind, at, _ in capabilities(setting.read):
        if kind == PCI_CAP_ID_EXP:
            found["device control"] = read(at + PCI_EXP_DEVCTL, 2)
            found["link control"] = read(at + PCI_EXP_LNKCTL, 2)
            found["device control 2"] = read(at + PCI_EXP_DEVCTL2, 2)
        elif kind in (PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX):
            found[f"messages {kind}"] = read(at + PCI_MSI_FLAGS, 2)
        elif kind == PCI_CAP_ID_PM:
            found["power"] = read(at + PCI_PM_CTRL, 2)
    for kind, at, _ in extended_capabilities(setting.read):
        if kind == PCI_EXT_CAP_ID_ERR:
            found["errors"] = read(at + PCI_ERR_UNCOR_MASK, 8) + read(at + PCI_ERR_COR_MASK, 8)
    return found


@everywhere
def test_on_bus_0_it_is_integrated(kind: str, assign: Callable[..., Setting]) -> None:
    setting = assign(kind)
    at = next((at for id, at, _ in capabilities(setting.read) if id == PCI_CAP_ID_EXP), None)
    if at is None:
        assert kind == "edu"
        assert setting.read(0x100, 4) == 0xFFFFFFFF
        return
    flags = int.from_bytes(setting.device.region_read(CONFIG, at + PCI_EXP_FLAGS, 2), "little")
    assert flags & PCI_EXP_FLAGS_TYPE == PCI_EXP_TYPE_ENDPOINT << 4
    shown = setting.read(at + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_TYPE
    assert shown == PCI_EXP_TYPE_RC_END << 4
    assert setting.device.region_read(CONFIG, at + PCI_EXP_LNKCAP, 4) != bytes(4)
    assert setting.read(at + PCI_EXP_LNKCAP, 4) == setting.read(at + PCI_EXP_LNKCTL, 4) == 0


def test_an_extended_space_that_the_host_does_not_reach(
    lab_device: GetDevice, lab_devices: Callable[[str], list[str]]
) -> None:
    """Behind a conventional bridge, a function of PCI Express has but 256 bytes."""
    bdf = next(bdf for bdf in lab_devices("nvme") if bdf != lab_device("nvme"))
    setting = Setting(open_device(bdf))  # type: ignore[arg-type]
    try:
        assert setting.device.region_info(CONFIG).size == 256
        assert PCI_CAP_ID_EXP in {kind for kind, _, _ in capabilities(setting.read)}
        assert {setting.read(at, 4) for at in range(256, 4096, 4)} == {0}
    finally:
        setting.close()


def test_its_rom(assign: Callable[..., Setting]) -> None:
    setting = assign("e1000e")
    address = setting.function.bars[-1].address
    setting.write(0x30, 4, address | 1)
    rom = setting.device.region_read(ROM, 0, 0x1000)
    assert rom[:2] == b"\x55\xaa"
    found = (setting.load(address + at, 4).to_bytes(4, "little") for at in range(0, 0x1000, 4))
    assert b"".join(found) == rom
    assert setting.function.guard.counts == {}


@with_more_bars
def test_a_bar_smaller_than_a_page_is_mapped(assign: Callable[..., Setting]) -> None:
    setting = assign("rtl8139")
    info = setting.device.region_info(1)
    assert (info.size, info.areas) == (0x100, (Interval(0, 0x100),))
    place = next(bar.address for bar in setting.function.bars if bar.index == 1)
    assert device_regions(setting) == [(place, PAGE)]
    (region,) = (region for region in setting.memory.regions if region.gpa == place)
    mapped = (ctypes.c_ubyte * PAGE).from_address(region.host)
    network_address = setting.device.region_read(1, 0, 6)
    assert bytes(mapped[0:6]) == network_address
    assert bytes(mapped[0x100:0x106]) != network_address, "there is nothing in the rest of the page"
    setting.write(0x14, 4, place + info.size)
    assert device_regions(setting) == []
    assert setting.load(place + info.size, 4).to_bytes(4, "little") == network_address[:4]


@with_more_bars
def test_a_large_bar_is_mapped_by_huge_pages(assign: Callable[..., Setting]) -> None:
    setting = assign("pci-testdev")
    large = next(bar for bar in setting.function.bars if bar.index == 2)
    (region,) = (region for region in setting.memory.regions if region.gpa == large.address)
    assert region.size == large.size == 16 << 20
    assert region.host % HUGE == large.address % HUGE == 0
    mapped = (ctypes.c_ubyte * region.size).from_address(region.host)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for at in range(0, region.size, PAGE):
        mapped[at]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < region.size // PAGE // 10, "small pages take one each"
