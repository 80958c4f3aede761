# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Flat firmware: where it lies, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pyvmm.boot import DoesNotFit, UnreadableImage, load_firmware
from pyvmm.memory import ROM, GuestMemory

GIB = 1 << 30
Write = Callable[[str, bytes], str]


def roms(memory: GuestMemory) -> list[tuple[int, int]]:
    return [(region.gpa, region.end) for region in memory.regions if region.kind == ROM]


@pytest.mark.parametrize("size", [16, 4096, 5000, 128 << 10, 256 << 10])
def test_an_image_ends_at_four_gib_and_its_tail_at_one_mib(
    memory: GuestMemory, write: Write, size: int
) -> None:
    contents = os.urandom(size)
    phases: list[str] = []
    entry = load_firmware(memory, write("firmware", contents), done=phases.append)
    assert (entry.kind, entry.address) == ("firmware", 0xFFFF_FFF0)
    assert memory.read(4 * GIB - size, size) == contents
    legacy = contents[-128 << 10 :]
    assert memory.read(0x10_0000 - len(legacy), len(legacy)) == legacy
    ((start, end),) = roms(memory)
    assert end == 4 * GIB
    assert start % 4096 == 0
    assert phases == ["firmware"]


def test_loading_again_renews_it(memory: GuestMemory, write: Write) -> None:
    path = write("firmware", b"f" * 8192)
    load_firmware(memory, path)
    memory.view(0xF_0000, 0x1_0000)[:] = bytes(0x1_0000)
    load_firmware(memory, path)
    assert roms(memory) == [(4 * GIB - 8192, 4 * GIB)]
    assert memory.read(0xF_E000, 8192) == b"f" * 8192


def test_an_image_that_is_too_large(memory: GuestMemory, write: Write) -> None:
    path = write("firmware", b"")
    os.truncate(path, (16 << 20) + 1)
    with pytest.raises(DoesNotFit, match="more than 0x1000000: is it a flat image"):
        load_firmware(memory, path)
    assert roms(memory) == []


def test_too_little_ram(write: Write) -> None:
    with GuestMemory(64 << 10) as memory, pytest.raises(DoesNotFit, match="at least 1 MiB"):
        load_firmware(memory, write("firmware", b"f" * 16))


def test_no_image(memory: GuestMemory) -> None:
    with pytest.raises(UnreadableImage, match="reading firmware /nonexistent: open: ENOENT"):
        load_firmware(memory, "/nonexistent")
