# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Without an IOMMU, and which back end is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, IommuGroup
from pyvmm.vfio.kernel import (
    BACKENDS,
    Container,
    KernelSpace,
    NoIommuSpace,
    backends,
    best_backend,
    open_device,
    open_space,
)
from pyvmm.vfio.software import DmaTable
from tests.unit.vfio.host.made_host import MadeHost
from tests.unit.vfio.kernel.made_spaces import ADDRESS, NIC, PAGE
from tests.unit.vfio.kernel.made_vfio import MadeVfio


def test_no_iommu(made: MadeVfio) -> None:
    made.device("0000:07:00.0", 30, no_iommu=True, cdev=False)
    with NoIommuSpace(root=made.root) as space:
        device = open_device("0000:07:00.0", space=space)
        assert made.iommu == vfio.VFIO_NOIOMMU_IOMMU
        with pytest.raises(DeviceError, match="no guest can have it"):
            space.map(0x10000, PAGE, address=ADDRESS)
        with pytest.raises(DeviceError, match="leave iova out"):
            space.alloc(PAGE, iova=0x1000)
        assert space.mappings == ()
        device.close()
    made.extensions.remove(vfio.VFIO_NOIOMMU_IOMMU)
    with pytest.raises(HostDeviceUnavailable, match="enable_unsafe_noiommu_mode"):
        NoIommuSpace(root=made.root)


def test_a_host_without_an_iommu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its containers can be opened all the same, but no device joins them."""
    made = MadeVfio(MadeHost(tmp_path))
    made.device(NIC, 14, no_iommu=True)
    monkeypatch.setattr("pyvmm.vfio.kernel.call.ioctl", made.ioctl)
    missing = dict(backends(root=made.root))
    assert [name for name in missing if not missing[name]] == ["noiommu"]
    assert missing["type1v2"].startswith("no IOMMU is in use; enable VT-d or AMD-Vi")
    with open_space(root=made.root) as space:
        assert space.backend == "noiommu"


def test_the_best_there_is(made: MadeVfio) -> None:
    assert [name for name, missing in backends(root=made.root) if not missing] == list(BACKENDS)
    with open_space(root=made.root) as space:
        assert space.backend == "iommufd"
    os.unlink(f"{made.root}/dev/iommu")
    with open_space(root=made.root) as space:
        assert space.backend == "type1v2"
    with pytest.raises(HostDeviceUnavailable, match="choose one of iommufd, type1v2"):
        open_space("type2", root=made.root)


def test_the_best_for_a_device(made: MadeVfio) -> None:
    made.device("0000:05:00.0", 20, cdev=False)
    made.device("0000:07:00.0", 30, no_iommu=True, cdev=False)
    for bdf, backend in ((NIC, "iommufd"), ("05:00.0", "type1v2"), ("07:00.0", "noiommu")):
        with open_device(bdf, root=made.root) as device:
            assert isinstance(device.dma, KernelSpace)
            assert device.dma.backend == backend
        assert not made.open_files("dev/vfio/vfio")
        assert not made.open_files("dev/iommu")
    with open_device(NIC, backend="type1", root=made.root) as device:
        assert made.iommu == vfio.VFIO_TYPE1_IOMMU


def test_the_best_of_what_may_be_opened(made: MadeVfio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was given the group alone gets by with that."""
    function = HostFunction(NIC, root=made.root)
    closed: list[str | None] = []
    monkeypatch.setattr(os, "access", lambda path, _mode: path not in closed)
    assert best_backend(NIC, made.root) == "iommufd"
    for path in (function.vfio_cdev, f"{made.root}/dev/iommu"):
        closed[:] = [path]
        assert best_backend(NIC, made.root) == "type1v2"
    closed.append(IommuGroup.of(function).device_path)
    assert best_backend(NIC, made.root) == "iommufd", "what is missing is told of the better way"


def test_what_does_not_go_together(container: Container, made: MadeVfio, cdev_fd: int) -> None:
    with pytest.raises(ValueError, match="either bdf or fd"):
        open_device()
    with pytest.raises(HostDeviceUnavailable, match="which takes iommufd, not type1v2"):
        open_device(fd=cdev_fd, space=container, root=made.root)
    with pytest.raises(HostDeviceUnavailable, match="the DMA space is type1v2, not iommufd"):
        open_device(NIC, space=container, backend="iommufd")
    with DmaTable() as table, pytest.raises(HostDeviceUnavailable, match="can't join a DmaTable"):
        open_device(NIC, space=table)
    with pytest.raises(HostDeviceUnavailable, match=r"no PCI device 0000:99:00\.0"):
        container.open_device("99:00.0")
