# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is told of each function, also while functions come and go."""

from __future__ import annotations

import json
import shutil

import pytest

from pyvmm.doctor import reports
from pyvmm.vfio.host import HostFunction, functions
from tests.unit.vfio.host.made_host import MadeHost

NIC, VF, DISK = "0000:01:00.0", "0000:01:10.0", "0000:02:00.0"


@pytest.fixture
def found(host: MadeHost) -> list[HostFunction]:
    host.function(NIC, driver="vfio-pci", group=14)
    host.virtual_function(NIC, 0, VF, driver="vfio-pci", group=15)
    host.function(DISK, driver="nvme", group=16, class_code=0x010802)
    host.file("sys/kernel/iommu_groups/14/reserved_regions", "0xfee00000 0xfeefffff msi\n")
    host.file("usr/share/misc/pci.ids", "8086  Intel\n\t10d3  82574L\n")
    return functions(root=host.root)


def test_everything(host: MadeHost, found: list[HostFunction]) -> None:
    report, vf, disk = reports(found, root=host.root)
    assert report.name == "Intel 82574L"
    values = json.loads(json.dumps(report.values))
    assert (values["address"], values["vendor"], values["driver"]) == (NIC, 0x8086, "vfio-pci")
    assert values["names"]["class"] == "Ethernet controller"
    assert values["iommu_group"]["members"] == [{"name": NIC, "driver": "vfio-pci"}]
    region = {"start": 0xFEE00000, "end": 0xFEF00000, "type": "msi"}
    assert values["iommu_group"]["reserved_regions"] == [region]
    assert values["virtual_functions"] == [VF]
    ready: dict[str, object] = {"answer": "now", "reason": None, "cure": None, "notes": []}
    assert values["assignable"] == ready
    assert vf.values["physical_function"] == NIC
    assert "takes a VF token" in vf.verdict.notes[0]
    assert disk.values["needed_for"] == []


def test_one_that_has_gone(host: MadeHost, found: list[HostFunction]) -> None:
    shutil.rmtree(host.root / "sys/devices/pci0000:02" / DISK)
    assert [report.function.bdf for report in reports(found, root=host.root)] == [NIC, VF]


def test_one_whose_group_goes_meanwhile(host: MadeHost, found: list[HostFunction]) -> None:
    shutil.rmtree(host.root / "sys/kernel/iommu_groups/16")
    assert [report.function.bdf for report in reports(found, root=host.root)] == [NIC, VF]


def test_a_physical_function_that_has_gone(host: MadeHost, found: list[HostFunction]) -> None:
    (host.root / "sys/bus/pci/devices" / NIC).unlink()
    vf, _ = reports(found[1:], root=host.root)
    assert vf.values["physical_function"] == NIC
    assert vf.verdict.notes == ()
