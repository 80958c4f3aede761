# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests whose drive is served as other implementations of vfio-user do it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.models import create
from tests.lab.conftest import MakeLinux
from tests.lab.linux_guest import boots
from tests.servers.dialect import Dialect
from tests.servers.every import DIALECTS

pytestmark = [pytest.mark.proof, pytest.mark.profiles("proof"), pytest.mark.timeout(1200)]

DRIVE = boots("nvme", "ext4", script="nvme.sh")


@pytest.fixture
def sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pyvmm-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.boots(DRIVE)
def test_a_file_system(dialect: type[Dialect], make_linux: MakeLinux, sockets: Path) -> None:
    path = sockets / "nvme"
    with create("nvme", {"size": "64M"}) as drive, dialect(path, drive) as server:
        vm = make_linux(DRIVE, [{"socket": str(path)}], "overwrite=yes size=2", cpus=2)
        lines = vm.passes()
        vm.machine.close()
        assert "  ok   the file is the same" in lines
        assert server.mistakes == []
    assert vm.notices == []
