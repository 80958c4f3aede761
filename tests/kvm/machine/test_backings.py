# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guests in each kind of host memory, with a device in another process that has DMA to it."""

from __future__ import annotations

import pytest

from pyvmm.memory import OutOfHostMemory
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("backing", "size"),
    [("shared", 16 * MIB), ("thp", 16 * MIB), ("hugetlb-2M", 16 * MIB), ("hugetlb-1G", GIB)],
)
def test_guests_and_devices_share_it(make: MakeMachine, backing: str, size: int) -> None:
    memory = {"size": size, "backing": backing}
    vm = make("edu", memory=memory, devices=[{"model": "edu", "process": True}])
    try:
        vm.start()
    except OutOfHostMemory as error:
        if not backing.startswith("hugetlb"):
            raise
        pytest.skip(str(error))
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    assert outcome.ok, vm.console.text
    assert vm.console.text.endswith("PASS\r\n")


@pytest.mark.parametrize("enabled", [True, False])
def test_huge_pages_that_the_host_does_not_give_are_told(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    monkeypatch.setattr("pyvmm.machine.hardware.thp_enabled", lambda: enabled)
    notices: list[str] = []
    vm = make("hello", notices.append, memory={"size": 16 * MIB, "backing": "thp"})
    vm.start()
    assert vm.wait(LIMIT)
    assert [("shmem_enabled" in notice) for notice in notices] == ([] if enabled else [True])
