# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Backing: each kind is the pages it says, by what the kernel is asked for and by what it gives."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from pyvmm.memory.backing import (
    BACKINGS,
    HUGETLB_1G,
    HUGETLB_2M,
    PRIVATE,
    SHARED,
    THP,
    Backing,
)
from pyvmm.memory.errors import OutOfHostMemory

MIB = 1 << 20
GIB = 1 << 30
PAGE = {HUGETLB_2M: 2 * MIB, HUGETLB_1G: GIB}


def covers(interval: str, address: int) -> bool:
    """Whether one of /proc's "7f00-7f08" has the address."""
    start, end = (int(edge, 16) for edge in interval.split("-"))
    return start <= address < end


def smaps(address: int) -> dict[str, list[str]]:
    """What the kernel tells of this process's mapping at that address, by key."""
    found: dict[str, list[str]] = {}
    with open("/proc/self/smaps") as file:
        for line in file:
            key, *values = line.split()
            if key.endswith(":"):
                if found:
                    found[key[:-1]] = values
            elif found:
                break
            elif covers(key, address):
                found["mapping"] = values
    assert found, "it is not mapped"
    return found


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags of each memfd_create; what comes of it is small pages."""
    created: list[int] = []
    memfd_create = os.memfd_create

    def recorded(name: str, flags: int) -> int:
        created.append(flags)
        return memfd_create(name, os.MFD_CLOEXEC | flags & os.MFD_ALLOW_SEALING)

    monkeypatch.setattr(os, "memfd_create", recorded)
    monkeypatch.setattr("pyvmm.memory.backing._free_huge_pages", lambda _page: 1)
    return created


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (SHARED, 0),
        (THP, 0),
        (HUGETLB_2M, os.MFD_HUGETLB | os.MFD_HUGE_2MB),
        (HUGETLB_1G, os.MFD_HUGETLB | os.MFD_HUGE_1GB),
    ],
)
def test_the_file_is_asked_for_by_kind(created: list[int], kind: str, flags: int) -> None:
    backing = Backing("test", 1, kind)
    try:
        assert created == [os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags]
        assert backing.size == PAGE.get(kind, mmap.PAGESIZE), "whole pages"
        assert os.fstat(backing.fd).st_size == backing.size
    finally:
        backing.close()


@pytest.mark.parametrize("kind", BACKINGS)
def test_advice_is_given_by_kind(created: list[int], kind: str) -> None:
    if kind in (PRIVATE, THP) and not os.path.exists("/sys/kernel/mm/transparent_hugepage"):
        pytest.skip("no transparent huge pages: run a kernel with CONFIG_TRANSPARENT_HUGEPAGE")
    backing = Backing("test", 1, kind)
    try:
        flags = smaps(backing.address)["VmFlags"]
    finally:
        backing.close()
    assert ("sh" in flags) == (kind != PRIVATE), "shared"
    assert ("dc" in flags) == (kind == PRIVATE), "not in child processes"
    assert "dd" in flags, "not in core dumps"
    assert ("hg" in flags) == (kind in (PRIVATE, THP)), "huge pages wanted"


def test_private_memory_begins_with_a_huge_page(created: list[int]) -> None:
    for size in (1, 3 * MIB, 16 * MIB):
        backing = Backing("test", size, PRIVATE)
        try:
            assert backing.address % (2 * MIB) == 0
            assert backing.fd == -1
            assert len(backing.buffer) == backing.size == -(-size // 4096) * 4096
            backing.buffer[0], backing.buffer[-1] = 1, 2
            assert ctypes.string_at(backing.address, 1) == b"\1"
            assert ctypes.string_at(backing.address + backing.size - 1, 1) == b"\2"
        finally:
            backing.close()
            backing.close()
    assert created == [], "it is no file"


def test_a_child_process_has_none_of_it() -> None:
    backing = Backing("test", MIB, PRIVATE)
    try:
        backing.buffer[:6] = b"secret"
        child = os.fork()
        if child == 0:
            maps = Path("/proc/self/maps").read_text().splitlines()
            os._exit(any(covers(line.split()[0], backing.address) for line in maps))
        assert os.waitpid(child, 0)[1] == 0
    finally:
        backing.close()


def test_a_kernel_without_transparent_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without(mmap.mmap):
        def madvise(self, option: int, *where: int) -> None:
            if option == mmap.MADV_HUGEPAGE:
                raise OSError
            super().madvise(option, *where)

    monkeypatch.setattr(mmap, "mmap", Without)
    backing = Backing("test", MIB, THP)
    try:
        backing.buffer[:5] = b"there"
    finally:
        backing.close()


@pytest.mark.parametrize("kind", BACKINGS)
def test_more_than_the_host_has(kind: str) -> None:
    """Then no reservation of huge pages would do."""
    with pytest.raises(OutOfHostMemory) as caught:
        Backing("test", 1 << 46, kind)
    assert str(caught.value).startswith("67108864 MiB of guest RAM are more than the host's ")
    assert str(caught.value).endswith(" MiB: give the guest less memory")


def test_huge_pages_that_are_not_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.memory.backing._free_huge_pages", lambda _page: 1)
    with pytest.raises(OutOfHostMemory, match=r"need 3 free pages of 2 MiB, .* has 1: echo 2 more"):
        Backing("test", 6 * MIB, HUGETLB_2M)
    monkeypatch.setattr("pyvmm.memory.backing._free_huge_pages", lambda _page: 0)
    with pytest.raises(OutOfHostMemory, match="need 1 free page of 2 MiB"):
        Backing("test", MIB, HUGETLB_2M)


@pytest.mark.parametrize("kind", [HUGETLB_2M, HUGETLB_1G])
def test_huge_pages_for_real(kind: str) -> None:
    page = PAGE[kind]
    pool = f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB"
    try:
        with open(f"{pool}/free_hugepages") as file:
            free = int(file.read())
    except FileNotFoundError:
        free = 0
    if not free:
        pytest.skip(f"no free huge page of that size: echo 1 > {pool}/nr_hugepages")
    backing = Backing("test", 1, kind)
    try:
        assert backing.size == page
        assert smaps(backing.address)["KernelPageSize"] == [str(page >> 10), "kB"]
        backing.buffer[-5:] = b"there"
        with mmap.mmap(backing.fd, page) as other:
            assert other[-5:] == b"there"
    finally:
        backing.close()
