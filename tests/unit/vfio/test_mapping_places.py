# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where mappings are: so that the kernel can use huge pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.vfio import DeviceError, Mapping
from pyvmm.vfio.mapping import PAGE_SIZE, huge_alignment

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def memfd() -> Iterator[int]:
    """A file of 1 GiB, none of which is there."""
    fd = os.memfd_create("test")
    os.truncate(fd, GIB)
    yield fd
    os.close(fd)


def mapped() -> set[str]:
    """All mappings but the heap's."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line for line in lines if "memfd:test" in line or line.split()[1] == "---p"}


@pytest.mark.parametrize(
    ("size", "alignment"),
    [
        (0x100, PAGE_SIZE),
        (MIB, PAGE_SIZE),
        (2 * MIB, 2 * MIB),
        (3 * MIB, 2 * MIB),
        (256 * MIB, 256 * MIB),
        (GIB, GIB),
        (64 * GIB, GIB),
    ],
)
def test_alignments(size: int, alignment: int) -> None:
    assert huge_alignment(size) == alignment


@pytest.mark.parametrize("alignment", [PAGE_SIZE, 2 * MIB, 256 * MIB, GIB])
@pytest.mark.parametrize("skew", [0, PAGE_SIZE, MIB])
def test_a_mapping_is_where_it_was_asked_to_be(memfd: int, alignment: int, skew: int) -> None:
    before = mapped()
    with Mapping(memfd, skew, 4 * MIB, alignment=alignment, skew=skew) as mapping:
        assert mapping.address % alignment == skew % alignment
        mapping.view[0], mapping.view[4 * MIB - 1] = 1, 2
        assert os.pread(memfd, 1, skew) == b"\1"
        assert os.pread(memfd, 1, skew + 4 * MIB - 1) == b"\2"
        new = mapped() - before
        assert len(new) == 1, "what was reserved beside it has gone"
    assert mapped() == before


def test_a_mapping_that_fails_leaves_nothing_reserved(memfd: int) -> None:
    before = mapped()
    read_only = os.open(f"/proc/self/fd/{memfd}", os.O_RDONLY)
    try:
        with pytest.raises(DeviceError, match="mmap: EACCES"):
            Mapping(read_only, 0, 4 * MIB, alignment=2 * MIB)
    finally:
        os.close(read_only)
    assert mapped() == before


def test_more_than_there_are_addresses(tmp_path: Path) -> None:
    with open("/dev/zero", "rb") as zero, pytest.raises(DeviceError, match="mmap: ENOMEM"):
        Mapping(zero.fileno(), 0, 1 << 47, writable=False, alignment=GIB)
