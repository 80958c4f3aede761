# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IOMMU groups: members, viability, reserved regions, and why there may be none."""

from __future__ import annotations

import pytest

from pyvmm.vfio import Interval
from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, IommuGroup, groups
from tests.unit.vfio.host.made_host import MadeHost


def group(host: MadeHost, number: int = 14) -> IommuGroup:
    return IommuGroup(number, root=host.root)


def test_of_a_function(host: MadeHost) -> None:
    host.function("0000:01:00.0", group=14)
    of = IommuGroup.of(HostFunction("01:00.0", root=host.root))
    assert (of.number, of.type, of.no_iommu) == (14, "DMA", False)
    assert of.device_path == str(host.root / "dev/vfio/14")


def test_a_spoiler_is_named_with_its_driver(host: MadeHost) -> None:
    host.function("0000:03:00.0", driver="vfio-pci", group=14)
    host.function("0000:03:00.1", driver="snd_hda_intel", group=14)
    assert not group(host).viable
    with pytest.raises(HostDeviceUnavailable) as refused:
        group(host).check_viable()
    assert str(refused.value) == (
        "group 14 is not viable: 0000:03:00.1 is bound to snd_hda_intel; unbind it or give it to "
        "vfio-pci: `pyvmm bind 0000:03:00.1`"
    )


def test_all_spoilers_are_named(host: MadeHost) -> None:
    host.function("0000:03:00.1", driver="snd_hda_intel", group=14)
    host.function("0000:03:00.2", driver="xhci_hcd", group=14)
    assert str(group(host).why_not_viable()) == (
        "group 14 is not viable: 0000:03:00.1 is bound to snd_hda_intel, 0000:03:00.2 is bound to "
        "xhci_hcd; unbind them or give them to vfio-pci: `pyvmm bind 0000:03:00.1 0000:03:00.2`"
    )


def test_members_that_do_no_harm(host: MadeHost) -> None:
    host.function("0000:00:01.0", driver="pcieport", group=14, header=1)
    host.function("0000:03:00.0", driver="vfio-pci", group=14)
    host.function("0000:03:00.1", driver="pci-stub", group=14)
    host.function("0000:03:00.2", driver=None, group=14)
    path = host.function("0000:03:00.3", driver="mlx5_vfio_pci", group=14)
    host.file(f"{path}/vfio-dev/vfio0/uevent", "")
    assert len(group(host).members) == 5
    assert group(host).viable
    assert group(host).why_not_viable() is None
    group(host).check_viable()


def test_a_bridge_can_be_unbound_but_not_given_away(host: MadeHost) -> None:
    host.function("0000:00:01.0", driver="shpchp", group=14, header=1)
    assert str(group(host).why_not_viable()) == (
        "group 14 is not viable: 0000:00:01.0 is bound to shpchp; unbind it"
    )


def test_a_member_of_another_bus(host: MadeHost) -> None:
    host.function("0000:03:00.0", driver="vfio-pci", group=14)
    path = "sys/devices/platform/dma0"
    host.file(f"{path}/uevent", "")
    host.member(14, "dma0", path)
    assert group(host).viable
    host.link(f"{path}/driver", "sys/bus/platform/drivers/pl330")
    assert str(group(host).why_not_viable()) == (
        "group 14 is not viable: dma0 is bound to pl330; unbind it"
    )
    assert [str(function) for function in group(host).functions] == ["0000:03:00.0"]


def test_a_member_that_is_unplugged_meanwhile(host: MadeHost) -> None:
    host.function("0000:03:00.0", driver="vfio-pci", group=14)
    host.function("0000:03:00.1", driver="snd_hda_intel", group=14)
    (host.root / "sys/bus/pci/devices/0000:03:00.1").unlink()
    assert [str(function) for function in group(host).functions] == ["0000:03:00.0"]
    spoilt = group(host).why_not_viable()
    assert spoilt is not None
    assert spoilt.cause == "group 14 is not viable: 0000:03:00.1 is bound to snd_hda_intel"
    assert spoilt.cure == "unbind it"


def test_reserved_regions(host: MadeHost) -> None:
    host.function("0000:03:00.0", group=14)
    host.file(
        "sys/kernel/iommu_groups/14/reserved_regions",
        "0x00000000fee00000 0x00000000feefffff msi\n"
        "0x000000fd00000000 0x000000ffffffffff reserved\n",
    )
    assert group(host).reserved_regions == (
        (Interval(0xFEE00000, 0xFEF00000), "msi"),
        (Interval(0xFD00000000, 0x10000000000), "reserved"),
    )


def test_reserved_regions_that_make_no_sense(host: MadeHost) -> None:
    host.function("0000:01:00.0", group=14)
    text = "\nmsi\n0x1000 msi\nx y msi\n0x1000 0x1fff direct\n0x1000 0x1fff 0x2 msi\n"
    host.file("sys/kernel/iommu_groups/14/reserved_regions", text)
    (region,) = IommuGroup(14, root=host.root).reserved_regions
    assert region == (Interval(0x1000, 0x2000), "direct")


def test_one_that_vfio_made_up(host: MadeHost) -> None:
    host.function("0000:03:00.0", driver="vfio-pci", group=0)
    host.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n")
    assert group(host, 0).no_iommu
    assert group(host, 0).device_path == str(host.root / "dev/vfio/noiommu-0")


def test_all_of_a_host(host: MadeHost) -> None:
    for number, bdf in ((10, "0000:01:00.0"), (9, "0000:02:00.0")):
        host.function(bdf, group=number)
    assert [found.number for found in groups(root=host.root)] == [9, 10]


def test_one_that_is_not_there(host: MadeHost) -> None:
    with pytest.raises(HostDeviceUnavailable, match="no IOMMU group 7"):
        group(host, 7)


def test_why_a_function_has_none(host: MadeHost) -> None:
    host.function("0000:01:00.0")
    function = HostFunction("01:00.0", root=host.root)
    with pytest.raises(HostDeviceUnavailable, match="no IOMMU is in use; enable VT-d or AMD-Vi"):
        IommuGroup.of(function)
    host.file("sys/class/iommu/dmar0/uevent", "")
    with pytest.raises(HostDeviceUnavailable, match="although there is one; boot without"):
        IommuGroup.of(function)
    host.function("0000:02:00.0", group=1)
    with pytest.raises(HostDeviceUnavailable, match="don't cover it"):
        IommuGroup.of(function)
