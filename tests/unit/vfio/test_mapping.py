# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mappings: checked against the file, and unmapped when nobody looks any more."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError, Mapping

PAGE = 4096


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4 * PAGE)
    yield fd
    os.close(fd)


def is_mapped(address: int) -> bool:
    with open("/proc/self/maps") as maps:
        ranges = (line.split()[0].split("-") for line in maps)
        return any(int(start, 16) <= address < int(end, 16) for start, end in ranges)


def test_it_shows_the_file(file: int) -> None:
    with Mapping(file, PAGE, 2 * PAGE) as mapping:
        assert mapping.size == len(mapping.view) == 2 * PAGE
        mapping.view[4:8] = b"here"
        assert os.pread(file, 4, PAGE + 4) == b"here"
        os.pwrite(file, b"back", 2 * PAGE)
        assert bytes(mapping.view[PAGE : PAGE + 4]) == b"back"


def test_read_only(file: int) -> None:
    with Mapping(file, 0, PAGE, writable=False) as mapping:
        assert mapping.view.readonly
        assert mapping.address % PAGE == 0


def test_pages_go_with_the_last_view(file: int) -> None:
    mapping = Mapping(file, 0, PAGE)
    view = mapping.view[8:16]
    mapping.close()
    mapping.close()
    view[:4] = b"late"
    assert os.pread(file, 4, 8) == b"late"
    assert is_mapped(mapping.address)
    del view
    assert not is_mapped(mapping.address)
    with pytest.raises(ValueError, match="closed"):
        _ = mapping.view


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 5 * PAGE), (4 * PAGE, PAGE), (100, PAGE), (0, 0), (0, -1), (-PAGE, PAGE), (1 << 63, PAGE)],
)
def test_what_cannot_be_mapped(file: int, offset: int, size: int) -> None:
    with pytest.raises(DeviceError, match=r"the thing: .*EINVAL"):
        Mapping(file, offset, size, what="the thing")


def test_a_file_that_is_not_writable(tmp_path: object) -> None:
    fd = os.open(f"{tmp_path}/file", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        os.truncate(f"{tmp_path}/file", PAGE)
        with pytest.raises(DeviceError) as caught:
            Mapping(fd, 0, PAGE)
        assert caught.value.errno == errno.EACCES
        Mapping(fd, 0, PAGE, writable=False).close()
    finally:
        os.close(fd)


def test_a_closed_file() -> None:
    fd = os.memfd_create("test")
    os.close(fd)
    with pytest.raises(DeviceError) as caught:
        Mapping(fd, 0, PAGE)
    assert caught.value.errno == errno.EBADF
