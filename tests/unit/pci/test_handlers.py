# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Layers of handlers: each byte is answered by the topmost layer that has it."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.handlers import Layer, stack
from pyvmm.vfio import Interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.memory import IoHandler

SIZE = 64
WHOLE = Interval(0, SIZE)


class Bytes:
    """A handler over bytes that answers only within its interval."""

    def __init__(self, fill: int, interval: Interval = WHOLE) -> None:
        self.data = bytearray([fill]) * SIZE
        self.interval = interval

    def read(self, offset: int, size: int) -> int:
        assert self.interval.covers(Interval.sized(offset, size))
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        assert self.interval.covers(Interval.sized(offset, size))
        self.data[offset : offset + size] = value.to_bytes(size, "little")


def _on_top(handler: IoHandler, _below: IoHandler) -> IoHandler:
    return handler


edges = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
    lambda t: Interval(t[0], min(SIZE, t[0] + t[1]))
)
accesses = st.tuples(st.integers(0, SIZE - 8), st.sampled_from([1, 2, 4, 8]), st.integers(0))


@given(layers=st.lists(edges, max_size=3), todo=st.lists(accesses))
def test_any_access_is_that_of_its_bytes(
    layers: list[Interval], todo: list[tuple[int, int, int]]
) -> None:
    owners = [Bytes(0), *(Bytes(n, interval) for n, interval in enumerate(layers, 1))]
    handler = stack(
        owners[0],
        [Layer(0, owner.interval, partial(_on_top, owner)) for owner in owners[1:]],
    )
    model = bytearray(SIZE)
    for number, interval in enumerate(layers, 1):
        model[interval.start : interval.end] = bytes([number]) * interval.size
    for offset, size, value in todo:
        assert handler.read(offset, size) == int.from_bytes(model[offset : offset + size], "little")
        value &= (1 << 8 * size) - 1
        handler.write(offset, size, value)
        model[offset : offset + size] = value.to_bytes(size, "little")
    assert handler.read(0, 8) == int.from_bytes(model[:8], "little")


def test_a_tap_is_a_handler_around_a_handler() -> None:
    seen: list[tuple[str, int, int]] = []

    class Tap:
        def __init__(self, below: IoHandler) -> None:
            self.below = below

        def read(self, offset: int, size: int) -> int:
            value = self.below.read(offset, size)
            seen.append(("read", offset, value))
            return value ^ 0xFF

        def write(self, offset: int, size: int, value: int) -> None:
            seen.append(("write", offset, value))
            self.below.write(offset, size, value + 1)

    registers = Bytes(7)
    handler = stack(registers, [Layer(0, Interval(8, 12), Tap)])
    assert handler.read(8, 1) == 0xF8
    assert handler.read(12, 1) == 7
    handler.write(9, 1, 1)
    assert registers.data[9] == 2
    assert seen == [("read", 8, 7), ("write", 9, 1)]
