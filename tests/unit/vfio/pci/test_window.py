# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Words: one access of the width, or none at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import BadAccess, PciDevice
from pyvmm.vfio.pci import Window

WIDTHS = (1, 2, 4, 8)


class Recorder(Window):
    """Remembers every access; its bytes are those of a small memory."""

    def __init__(self, size: int) -> None:
        super().__init__("recorder", size)
        self.memory = bytearray(range(size))
        self.accesses: list[tuple[str, int, int]] = []

    def load(self, offset: int, width: int) -> int:
        self.accesses.append(("load", offset, width))
        return int.from_bytes(self.memory[offset : offset + width], "little")

    def store(self, offset: int, width: int, value: int) -> None:
        self.accesses.append(("store", offset, width))
        self.memory[offset : offset + width] = value.to_bytes(width, "little")


@given(st.sampled_from(WIDTHS), st.integers(-8, 80), st.integers(0, 72))
def test_reading_is_one_access_or_an_error(width: int, offset: int, size: int) -> None:
    window = Recorder(size)
    if offset % width or not 0 <= offset <= size - width:
        with pytest.raises(BadAccess, match="recorder: reading"):
            window.words(width)[offset]
        assert window.accesses == []
    else:
        expected = int.from_bytes(bytes(range(offset, offset + width)), "little")
        assert window.words(width)[offset] == expected
        assert window.accesses == [("load", offset, width)]


@given(st.sampled_from(WIDTHS), st.integers(-8, 80), st.integers(-(1 << 65), 1 << 65))
def test_writing_is_one_access_or_an_error(width: int, offset: int, value: int) -> None:
    window = Recorder(64)
    if offset % width or not 0 <= offset <= 64 - width or not 0 <= value < 1 << 8 * width:
        with pytest.raises(BadAccess, match="recorder: writing"):
            window.words(width)[offset] = value
        assert window.accesses == []
        assert window.memory == bytes(range(64))
    else:
        window.words(width)[offset] = value
        assert window.accesses == [("store", offset, width)]
        assert int.from_bytes(window.memory[offset : offset + width], "little") == value


@pytest.mark.parametrize(
    ("offset", "why"),
    [
        (2, "reading 4 bytes at 0x2: not a multiple of 4"),
        (0x40, "reading 4 bytes at 0x40: it has 0x40"),
        (-4, "reading 4 bytes at -0x4: it has 0x40"),
    ],
)
def test_errors_say_why(offset: int, why: str) -> None:
    with pytest.raises(BadAccess) as caught:
        Recorder(0x40).u32[offset]
    assert str(caught.value) == f"recorder: {why}"


def test_a_value_that_does_not_fit() -> None:
    with pytest.raises(BadAccess) as caught:
        Recorder(0x40).u16[4] = 0x10000
    assert str(caught.value) == "recorder: writing 0x10000 at 0x4: more than 2 bytes hold"


def test_nobody_reads_all_registers_by_accident() -> None:
    window = Recorder(16)
    with pytest.raises(TypeError):
        list(window.u32)  # type: ignore[call-overload]
    assert window.accesses == []


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_no_integer(dev: PciDevice, mapped: bool) -> None:
    bar = dev.bars[2].map() if mapped else dev.bars[2]
    for offset in (0.5, 4.0, "4", None):
        with pytest.raises(TypeError, match="interpreted as an integer"):
            bar.u32[offset]  # type: ignore[index]
        with pytest.raises(TypeError, match="interpreted as an integer"):
            bar.u32[offset] = 0  # type: ignore[index]
    for value in (1.5, "1", None):
        with pytest.raises(TypeError, match="interpreted as an integer"):
            bar.u32[0] = value  # type: ignore[assignment]
    bar.u32[True - 1] = True
    assert bar.u32[0] == 1
