# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostDevices: one DMA space for all that can share it, and nothing touched that can't be had."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator

import pytest

from pyvmm.machine.host_devices import HostDevices
from pyvmm.memory import DEVICE, RAM, MemoryRegion
from pyvmm.vfio import HostDeviceUnavailable
from tests.unit.vfio.kernel.made_spaces import DISK, NIC, NIC2, made
from tests.unit.vfio.kernel.made_vfio import MadeVfio

__all__ = ["made"]

MIB, GIB = 1 << 20, 1 << 30
LOW = MemoryRegion(0, 64 * MIB, host=0, kind=RAM, name="low RAM")
BAR = MemoryRegion(0xFEE00000, MIB, host=0, kind=DEVICE, name="a BAR")

Open = Callable[..., None]


def ram(size: int) -> list[MemoryRegion]:
    """As GuestMemory lays it out."""
    low = MemoryRegion(0, 3 * GIB, host=0, kind=RAM, name="low RAM")
    return [low, MemoryRegion(4 * GIB, size - 3 * GIB, host=0, kind=RAM, name="high RAM")]


@pytest.fixture
def host(made: MadeVfio) -> Iterator[HostDevices]:
    with HostDevices(root=made.root) as host:
        yield host


def cdevs(made: MadeVfio) -> list[str]:
    """Those that are open."""
    names = sorted(os.listdir(f"{made.root}/dev/vfio/devices"))
    return [name for name in names if made.open_files(f"dev/vfio/devices/{name}")]


def refusal(host: HostDevices, *addresses: str, memory: list[MemoryRegion] | None = None) -> str:
    with pytest.raises(HostDeviceUnavailable) as caught:
        host.open(addresses, memory or [LOW])
    return str(caught.value)


@pytest.fixture
def refused(host: HostDevices, made: MadeVfio) -> Callable[..., str]:
    """refused(address, ...) is what is said of devices of which none is touched."""

    def untouched(*addresses: str, memory: list[MemoryRegion] | None = None) -> str:
        said = refusal(host, *addresses, memory=memory)
        assert made.log == []
        return said

    return untouched


def test_one_space_for_all(host: HostDevices, made: MadeVfio) -> None:
    host.open([NIC, NIC2, DISK], [LOW, BAR])
    devices = [host.take(bdf) for bdf in (NIC, NIC2, DISK)]
    assert [device.name for device in devices] == [NIC, NIC2, DISK]
    assert len({device.dma for device in devices}) == 1
    assert made.log.count("IOMMU_IOAS_ALLOC") == 1
    host.close()
    assert len(cdevs(made)) == 3, "they are whose who has taken them"
    for device in devices:
        device.close()
    assert not made.open_files("dev/iommu")


def test_each_has_the_back_end_that_suits_it(host: HostDevices, made: MadeVfio) -> None:
    """Whatever the first one has: a device without a cdev can't join iommufd."""
    device = os.path.realpath(f"{made.root}/sys/bus/pci/devices/{DISK}")
    shutil.rmtree(f"{device}/vfio-dev")
    host.open([NIC, DISK, NIC2], [LOW])
    devices = [host.take(bdf) for bdf in (NIC, DISK, NIC2)]
    backends = [device.dma.backend for device in devices]  # type: ignore[attr-defined]
    assert backends == ["iommufd", "type1v2", "iommufd"]
    for opened in devices:
        opened.close()


def test_those_that_nobody_takes_are_closed(host: HostDevices, made: MadeVfio) -> None:
    host.open([NIC, DISK], [LOW])
    host.take(DISK).close()
    host.close()
    host.close()
    assert cdevs(made) == []


# What can be told before anything is touched: each time the last of several is to blame.


def test_one_that_is_not_there(refused: Callable[..., str]) -> None:
    assert refused(NIC, "0000:09:00.0") == (
        "there is no PCI device 0000:09:00.0 on this host; `pyvmm devices` lists those that "
        "there are"
    )


def test_one_that_its_driver_has(refused: Callable[..., str], made: MadeVfio) -> None:
    made.host.function("0000:03:00.0", driver="nvme", group=16)
    assert refused(NIC, "0000:03:00.0") == (
        "0000:03:00.0 can't be assigned yet: bound to nvme; pyvmm bind 0000:03:00.0"
    )


def test_one_whose_neighbour_a_driver_has(refused: Callable[..., str], made: MadeVfio) -> None:
    made.host.function("0000:02:00.1", driver="snd_hda_intel", group=15)
    assert refused(NIC, DISK) == (
        "0000:02:00.0 can't be assigned yet: group 15 is not viable: 0000:02:00.1 is bound to "
        "snd_hda_intel; pyvmm bind --group 0000:02:00.0"
    )


def test_a_bridge(refused: Callable[..., str], made: MadeVfio) -> None:
    made.host.function("0000:00:01.0", driver="pcieport", group=3, header=1)
    assert "0000:00:01.0 is a bridge" in refused(NIC, "0000:00:01.0")


def test_one_without_an_iommu(refused: Callable[..., str], made: MadeVfio) -> None:
    made.host.function("0000:03:00.0", driver="vfio-pci")
    assert "0000:03:00.0 has no IOMMU group: " in refused(NIC, "0000:03:00.0")
    made.device("0000:04:00.0", 0, no_iommu=True)
    assert "has no IOMMU, so a guest that had it could write" in refused(NIC, "0000:04:00.0")


def reserve(made: MadeVfio, group: int, start: int, end: int, kind: str) -> None:
    made.host.file(
        f"sys/kernel/iommu_groups/{group}/reserved_regions",
        f"{start:#018x} {end - 1:#018x} {kind}\n",
    )


def test_one_that_the_firmware_keeps(refused: Callable[..., str], made: MadeVfio) -> None:
    reserve(made, 15, 0x7C000000, 0x7E000000, "direct")
    assert "the firmware itself does DMA with group 15" in refused(NIC, DISK)


def test_memory_where_nothing_can_be(refused: Callable[..., str], made: MadeVfio) -> None:
    """As AMD's hosts have it below 1 TiB."""
    reserve(made, 15, 0xFD_0000_0000, 0x100_0000_0000, "reserved")
    said = refused(NIC, DISK, memory=ram(1012 * GIB))
    assert said == (
        "0000:02:00.0 can't reach all of the guest's high RAM, which is at [0x100000000, "
        "0xfd40000000): [0xfd00000000, 0x10000000000) is reserved of group 15; give the guest "
        "less memory: 1035264M at most"
    )
    reserve(made, 15, 0x80000, 0x100000, "reserved")
    assert refused(DISK).endswith("; no guest can have it: its memory starts there")
    reserve(made, 15, 0x80000, 0x100000, "direct-relaxable")


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """limited(size) has this process be one that may lock so many bytes."""

    def limit(size: int) -> None:
        monkeypatch.setattr("pyvmm.vfio.kernel.locked_memory.may_lock_anything", lambda: False)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (size, size))

    return limit


def test_memory_that_may_not_be_locked(
    host: HostDevices,
    refused: Callable[..., str],
    limited: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyvmm.vfio.kernel.locked_memory._locked", lambda: 12 << 10)
    limited((64 << 20) + (12 << 10) - 1)
    assert refused(NIC, DISK) == (
        "DMA of 0000:01:00.0, 0000:02:00.0 to the guest's memory takes 65536 KiB of locked "
        "memory, and RLIMIT_MEMLOCK is 65548 KiB, of which 12 KiB are in use; raise it to 65548 "
        "KiB at least: `ulimit -l 65548`, LimitMEMLOCK=65548K in a systemd unit, or memlock in "
        "/etc/security/limits.conf"
    )
    limited((64 << 20) + (12 << 10))
    host.open([NIC, DISK], [LOW])


# What only an open device tells.


def test_memory_out_of_reach(host: HostDevices, made: MadeVfio) -> None:
    assert refusal(host, NIC, memory=ram(600 * GIB)) == (
        "0000:01:00.0 can't reach all of the guest's high RAM, which is at [0x100000000, "
        "0x9640000000): its IOMMU reaches [0x0, 0xfee00000) and [0xfef00000, 0x8000000000); "
        "give the guest less memory: 523264M at most"
    )
    host.close()
    assert cdevs(made) == []
    assert made.mapped == {}


def test_one_that_another_has(host: HostDevices, made: MadeVfio) -> None:
    made.host.process(4711, "qemu", "/dev/vfio/15")
    made.refusals["VFIO_DEVICE_BIND_IOMMUFD"] = errno.EPERM
    assert "group 15 is in use: " in refusal(host, DISK)
    assert cdevs(made) == []
