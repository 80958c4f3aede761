# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guests whose devices are served as other implementations of vfio-user do it: they can't tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyvmm._counted import counted
from pyvmm.models import create
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.servers.dialect import Dialect
from tests.servers.every import DIALECTS

pytestmark = pytest.mark.kvm


LONG = pytest.mark.proof


@pytest.mark.parametrize(
    ("model", "posted_writes"),
    [
        ("edu", False),
        ("edu", True),
        ("testdev", False),
        pytest.param("testdev", True, marks=LONG),
        pytest.param("nvme", False, marks=LONG),
        pytest.param("nvme", True, marks=LONG),
    ],
    ids=lambda value: {False: "waits", True: "posts"}.get(value, value),
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_device_works(
    make: MakeMachine, sockets: Path, dialect: type[Dialect], model: str, posted_writes: bool
) -> None:
    path = sockets / "device"
    options = {"size": "64M"} if model == "nvme" else {}
    with create(model, options) as device, dialect(path, device) as server:
        notices: list[str] = []
        vm = make(
            model,
            notices.append,
            devices=[{"socket": str(path), "posted_writes": posted_writes}],
        )
        vm.start()
        outcome = vm.wait(LIMIT)
        assert outcome is not None, vm.console.text
        lines = vm.console.text.splitlines()
        trapped = 0
        if model == "testdev":  # its guest counts exits, which only some of these servers avoid
            trapped = (not dialect.maps) + (not dialect.doorbells)
        failed = [line for line in lines[:-1] if "FAIL" in line]
        assert [line for line in failed if "none of that trapped" not in line] == []
        assert len(failed) == trapped
        assert lines[-1] == (f"FAIL: {counted(trapped, 'check')} failed" if trapped else "PASS")
        vm.close()
        assert server.mistakes == []
        assert notices == []
