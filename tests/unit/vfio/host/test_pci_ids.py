# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Names from a pci.ids, and without one."""

from __future__ import annotations

import gzip

import pytest

from pyvmm.vfio.host import PciIds
from pyvmm.vfio.host.pci_ids import PLACES
from tests.unit.vfio.host.made_host import MadeHost

TEXT = b"""\
#
#\tList of PCI ID's
#

1af4  Red Hat, Inc.
\t1041  Virtio 1.0 network device
\t1042  Virtio 1.0 block device
# a comment in between
\t1045  Virtio 1.0 balloon
8086  Intel Corporation
\t10d3  82574L Gigabit Network Connection
\t\t1af4 1042  Subsystem that looks like a device
\t\t8086 a01f  Gigabit CT Desktop Adapter
\t10d5  82571PT Gigabit PT Quad Port Server ExpressModule

C 01  Mass storage controller
\t08  Non-Volatile memory controller
\t\t02  NVM Express
C 02  Network controller
\t00  Ethernet controller
"""


@pytest.fixture
def ids() -> PciIds:
    return PciIds(TEXT)


def test_names(ids: PciIds) -> None:
    assert ids.vendor(0x8086) == "Intel Corporation"
    assert ids.device(0x8086, 0x10D3) == "82574L Gigabit Network Connection"
    assert ids.subsystem(0x8086, 0x10D3, 0x8086, 0xA01F) == "Gigabit CT Desktop Adapter"
    assert ids.device(0x1AF4, 0x1045) == "Virtio 1.0 balloon"
    assert ids.kind(0x010802) == "Non-Volatile memory controller"
    assert ids.kind(0x020000) == "Ethernet controller"
    assert ids.kind(0x028000) == "Network controller"


def test_what_it_lacks(ids: PciIds) -> None:
    assert ids.vendor(0x1234) == ""
    assert ids.device(0x1234, 0x10D3) == ""
    # Not that of the next vendor, nor of a vendor's next device.
    assert ids.device(0x1AF4, 0x10D3) == ""
    assert ids.device(0x8086, 0x1042) == ""
    assert ids.subsystem(0x8086, 0x10D5, 0x8086, 0xA01F) == ""


def test_what_people_call_it(ids: PciIds) -> None:
    assert ids.name(0x1AF4, 0x1042, 0x018000) == "Red Hat, Inc. Virtio 1.0 block device"
    assert ids.name(0x8086, 0x1111, 0x020000) == "Intel Corporation Ethernet controller"
    assert ids.name(0x1234, 0x11E8, 0x00FF00) == "Unclassified device"


def test_without_a_file_classes_have_names() -> None:
    ids = PciIds()
    assert ids.vendor(0x8086) == ""
    assert ids.kind(0x010802) == "Non-Volatile memory controller"
    assert ids.kind(0x021100) == "Network controller"
    assert ids.kind(0x770000) == "Device of an unknown class"
    assert ids.name(0x8086, 0x10D3, 0x020000) == "Ethernet controller"


@pytest.mark.parametrize("place", PLACES)
def test_where_hosts_keep_it(host: MadeHost, place: str) -> None:
    assert PciIds.of_host(root=host.root).vendor(0x8086) == ""
    file = host.file(place, TEXT.decode())
    assert PciIds.of_host(root=host.root).vendor(0x8086) == "Intel Corporation"
    file.unlink()
    (host.root / f"{place}.gz").write_bytes(b"no gzip")
    assert PciIds.of_host(root=host.root).vendor(0x8086) == ""
    (host.root / f"{place}.gz").write_bytes(gzip.compress(TEXT))
    assert PciIds.of_host(root=host.root).vendor(0x8086) == "Intel Corporation"
