# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A busybox that needs no libraries is told from one that does."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.debian.busybox import find_busybox, is_static

if TYPE_CHECKING:
    from pathlib import Path

    from pyvmm.debian.cache import Cache

    from .conftest import MakeProgram


def elf(*kinds: int, machine: int = 62) -> bytes:
    """A program of segments of these kinds: 1 is PT_LOAD, 3 PT_INTERP."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0,
    )  # fmt: skip
    return header + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in kinds)


@pytest.mark.parametrize(
    ("contents", "static"),
    [
        (elf(1, 1), True),
        (elf(3, 1), False),
        (elf(1, 3), False),
        (elf(1, machine=183), False),
        (elf(1, 1)[:-1], False),
        (b"#!/bin/sh\n", False),
        (b"", False),
    ],
)
def test_static_or_not(tmp_path: Path, contents: bytes, static: bool) -> None:
    path = tmp_path / "busybox"
    path.write_bytes(contents)
    assert is_static(path) is static


@given(st.binary(max_size=200))
def test_no_file_upsets_it(tmp_path_factory: pytest.TempPathFactory, contents: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(b"\x7fELF\x02\x01" + contents)
    is_static(path)


def test_python_itself_is_dynamic_and_nothing_is_not_there(tmp_path: Path) -> None:
    assert not is_static(tmp_path)
    assert not is_static(tmp_path / "none")
    assert not is_static(type(tmp_path)(sys.executable))


def test_one_that_is_fetched_does_for_one_that_is_dynamic(
    cache: Cache, program: MakeProgram
) -> None:
    program("busybox", "")
    assert find_busybox(cache) is None
    with cache.locked(lambda _: None), cache.staging() as staged:
        (staged / "busybox").write_bytes(elf(1))
        place = cache.publish(staged, "busybox", "busybox", "1")
    assert find_busybox(cache) == place / "busybox"


def test_the_hosts_if_it_is_static(cache: Cache, program: MakeProgram) -> None:
    path = program("busybox", "")
    path.write_bytes(elf(1))
    assert find_busybox(cache) == path
