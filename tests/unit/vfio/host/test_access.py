# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The files that an unprivileged user gets, and loses again."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import access, bind, unbind
from tests.unit.vfio.host.made_host import MadeHost

NIC, OTHER = "0000:01:00.0", "0000:02:00.0"
ALICE, BOB = 12345, 12346

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="files change owners: only root may; run it in a container or the lab"
)


@pytest.fixture
def iommu(host: MadeHost) -> Path:
    """/dev/iommu, on a file system with access control lists."""
    path = host.file("dev/iommu", "")
    path.chmod(0o660)
    try:
        access._write(str(path), access._minimal(str(path)))
    except OSError:
        pytest.skip("this file system has no access control lists: set TMPDIR to one that has")
    return path


def owner(host: MadeHost, path: str) -> int:
    return (host.root / path).stat().st_uid


def cdev(host: MadeHost, path: str, name: str) -> None:
    host.file(f"{path}/vfio-dev/{name}/dev", "511:0")
    host.file(f"dev/vfio/devices/{name}", "")


def admitted(iommu: Path) -> set[int]:
    return {who for tag, _, who in access._read(str(iommu)) if tag == access._USER}


def test_the_group_is_the_users(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e", group=14)
    bind([NIC], user=str(ALICE), root=host.root)
    assert owner(host, "dev/vfio/14") == ALICE
    assert owner(host, "dev/vfio/vfio") == 0


def test_by_name() -> None:
    assert access.user_id("root") == 0
    assert access.user_id("4321") == 4321
    assert access.user_id(pwd.getpwuid(0).pw_name) == 0
    with pytest.raises(HostDeviceUnavailable, match="no user 'nobody-at-all' here"):
        access.user_id("nobody-at-all")


def test_an_unknown_user_changes_nothing(host: MadeHost) -> None:
    host.function(NIC, driver="e1000e", group=14)
    with pytest.raises(HostDeviceUnavailable, match="no user 'nobody-at-all' here"):
        bind([NIC], user="nobody-at-all", root=host.root)
    assert host.driver_of(NIC) == "e1000e"


def test_one_that_was_vfios_already(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=14)
    bind([NIC], user=str(ALICE), root=host.root)
    assert owner(host, "dev/vfio/14") == ALICE


def test_a_failure_hands_them_back(host: MadeHost) -> None:
    host.function(NIC, driver="vfio-pci", group=14)
    host.function(OTHER, driver="vfio-pci", group=0)
    host.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n")
    with pytest.raises(HostDeviceUnavailable, match=r"VFIO gives it to root alone \(CAP_SYS_RAW"):
        bind([NIC, OTHER], user=str(ALICE), root=host.root)
    assert owner(host, "dev/vfio/14") == 0


def test_device_cdevs_need_the_iommu_too(host: MadeHost, iommu: Path) -> None:
    cdev(host, host.function(NIC, driver="vfio-pci", group=14), "vfio0")
    cdev(host, host.function(OTHER, driver="vfio-pci", group=15), "vfio1")
    mode = iommu.stat().st_mode
    bind([NIC], user=str(ALICE), root=host.root)
    bind([OTHER], user=str(BOB), root=host.root)
    assert owner(host, "dev/vfio/devices/vfio0") == ALICE
    assert admitted(iommu) == {ALICE, BOB}
    bind([OTHER], user=str(BOB), root=host.root)
    assert len(access._read(str(iommu))) == 6

    unbind([NIC], root=host.root)
    assert admitted(iommu) == {BOB}
    unbind([OTHER], root=host.root)
    assert access._read(str(iommu)) == []
    assert iommu.stat().st_mode == mode


def test_whom_somebody_else_has_admitted_stays(host: MadeHost, iommu: Path) -> None:
    cdev(host, host.function(NIC, driver="vfio-pci", group=14), "vfio0")
    access._admit(str(iommu), BOB)
    bind([NIC], user=str(ALICE), root=host.root)
    unbind([NIC], root=host.root)
    assert admitted(iommu) == {BOB}
