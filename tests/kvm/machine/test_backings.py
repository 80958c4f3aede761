# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guests in each kind of host memory, with a device in another process that has DMA to it."""

from __future__ import annotations

import mmap

import pytest

from pyvmm.memory import OutOfHostMemory
from tests.kvm.machine.conftest import LIMIT, MakeMachine
from tests.resident import pages_there

pytestmark = pytest.mark.kvm

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("backing", "size"),
    [
        ("auto", 16 * MIB),
        ("private", 16 * MIB),
        ("shared", 16 * MIB),
        ("thp", 16 * MIB),
        ("hugetlb-2M", 16 * MIB),
        ("hugetlb-1G", GIB),
    ],
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


@pytest.mark.parametrize(
    ("devices", "is_shared"),
    [
        ([], False),
        ([{"model": "edu"}], False),
        ([{"model": "testdev"}, {"model": "edu", "process": True}], True),
    ],
    ids=["none", "inside", "outside"],
)
def test_it_is_shared_if_another_process_is_to_map_it(
    make: MakeMachine, devices: list[dict[str, object]], is_shared: bool
) -> None:
    vm = make("hello", devices=devices)
    vm.build()
    assert {region.fd >= 0 for region in vm.memory.regions} == {is_shared}


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


@pytest.mark.parametrize("backing", ["private", "shared"])
@pytest.mark.parametrize("processors", [1, None])
def test_all_of_it_is_there_before_the_guest_runs(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch, backing: str, processors: int | None
) -> None:
    if processors is not None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(processors))
    notices: list[str] = []
    memory = {"size": 64 * MIB, "backing": backing, "prealloc": True}
    vm = make("hello", notices.append, memory=memory)
    vm.build()
    assert pages_there(vm.memory) == 64 * MIB // mmap.PAGESIZE
    assert notices == []


def test_a_kernel_that_cant_have_it_there_is_told(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyvmm.memory.population._MADV_POPULATE_WRITE", 9999)
    notices: list[str] = []
    vm = make("hello", notices.append, memory={"size": 64 * MIB, "prealloc": True})
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok
    (notice,) = notices
    assert notice.startswith("memory.prealloc is true, but this host's kernel does not do that")
