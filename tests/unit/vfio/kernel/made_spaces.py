# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A made-up host with three devices in two groups, and DMA spaces of it, as fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.vfio.kernel import Container, Ioas, KernelSpace, open_space
from tests.unit.vfio.host.made_host import MadeHost
from tests.unit.vfio.kernel.made_vfio import MadeVfio

PAGE = 4096
NIC, NIC2, DISK = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"
ADDRESS = 0x7F0000000000
GROUPS = ("type1v2", "type1", "iommufd-compat")
ALL = (*GROUPS, "iommufd")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> MadeVfio:
    made = MadeVfio(MadeHost(tmp_path))
    made.device(NIC, 14)
    made.device(NIC2, 14)
    made.device(DISK, 15)
    monkeypatch.setattr("pyvmm.vfio.kernel.call.ioctl", made.ioctl)
    monkeypatch.setattr("pyvmm.vfio.kernel.opening._PATIENCE", 0.5)
    monkeypatch.setattr("pyvmm.vfio.kernel.opening._PAUSE", 0.005)
    return made


@pytest.fixture(params=ALL)
def space(request: pytest.FixtureRequest, made: MadeVfio) -> Iterator[KernelSpace]:
    with open_space(request.param, root=made.root) as space:
        yield space


@pytest.fixture
def container(made: MadeVfio) -> Iterator[Container]:
    with Container(root=made.root) as container:
        yield container


@pytest.fixture
def ioas(made: MadeVfio) -> Iterator[Ioas]:
    with Ioas(root=made.root) as ioas:
        yield ioas


@pytest.fixture
def cdev_fd(made: MadeVfio) -> Iterator[int]:
    """Character devices can't be made here: what stands for the NIC's cdev is /dev/null."""
    device = os.path.realpath(f"{made.root}/sys/bus/pci/devices/{NIC}/vfio-dev/vfio10")
    made.host.link("sys/dev/char/1:3", os.path.relpath(device, made.root))
    fd = os.open("/dev/null", os.O_RDWR)
    yield fd
    os.close(fd)
