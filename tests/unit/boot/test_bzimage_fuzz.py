# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whatever a bzImage's header says: it loads or is refused, and touches only what it claims."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm import boot
from pyvmm.boot import BootError, bzimage
from pyvmm.boot.image import ImageFile
from pyvmm.boot.placement import Placement
from pyvmm.memory import GuestMemory
from tests.bzimages import FIELDS, MIB
from tests.bzimages import bzimage as made

_SIZE = 4 * MIB
_USUAL = b"\xa5" * _SIZE


class Watched(Placement):
    """Knows what was claimed."""

    __slots__ = ("claimed",)

    def __init__(self, memory: GuestMemory) -> None:
        super().__init__(memory)
        self.claimed: list[tuple[int, int]] = []

    def claim(self, gpa: int, size: int, what: str, *, needed: int = 0) -> memoryview:
        buffer = super().claim(gpa, size, what, needed=needed)
        self.claimed.append((gpa, gpa + size))
        return buffer


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GuestMemory, Path]]:
    """Guest RAM and a file name that many examples share."""
    with GuestMemory(_SIZE) as memory:
        yield memory, tmp_path_factory.mktemp("bzimage") / "vmlinuz"


def value_of(name: str) -> st.SearchStrategy[int]:
    _, kind, usual = FIELDS[name]
    bits = {"B": 8, "H": 16, "I": 32, "Q": 64}[kind[-1]]
    assert isinstance(usual, int)
    near = st.integers(max(0, usual - 2), min((1 << bits) - 1, usual + 2))
    return st.one_of(
        near, st.integers(0, bits - 1).map(lambda bit: 1 << bit), st.integers(0, (1 << bits) - 1)
    )


NUMBERS = [name for name in FIELDS if name != "header"]


@given(
    fields=st.fixed_dictionaries({}, optional={name: value_of(name) for name in NUMBERS}),
    noise=st.lists(st.tuples(st.integers(0x1E0, 0x2A0), st.binary(max_size=8)), max_size=3),
    size=st.none() | st.integers(0x206, 3100),
)
def test_only_boot_errors_and_only_claimed_ram(
    arena: tuple[GuestMemory, Path],
    fields: dict[str, int],
    noise: list[tuple[int, bytes]],
    size: int | None,
) -> None:
    memory, path = arena
    contents = bytearray(made(bytes(0x400), **fields))
    for offset, value in noise:
        contents[offset : offset + len(value)] = value
    contents[0x202:0x206] = b"HdrS"
    path.write_bytes(contents[:size])
    memory.write(0, _USUAL)
    placement = Watched(memory)
    kernel = None
    with ImageFile(str(path), "kernel") as image, suppress(BootError):
        kernel = bzimage.load(image, placement)
    at = 0
    for start, end in sorted(placement.claimed):
        assert memory.read(at, start - at) == _USUAL[at:start]
        at = end
    assert memory.read(at, _SIZE - at) == _USUAL[at:]
    if kernel is not None:
        entry = boot.load_kernel(
            memory, str(path), cpus=1, mmio64=(0, 0), last_bus=0, intx_gsi=lambda device, pin: 16
        )
        assert MIB <= entry.address < _SIZE
