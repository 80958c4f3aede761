# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which bits of an assigned function's configuration space are the device's, and which are ours.

Rows say it; config_table.py has them. A bit is the device's unless a row takes it: then it is
read from our own ConfigSpace, whose write masks say whether the guest can change it. The guest's
writes reach the device where some bit of a byte is the device's, or a row has it told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .config_space import ConfigSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Whose = Literal["emulated", "told", "fixed", "read-only", "followed", "put back"]

EMULATED: Final = "emulated"
"""Ours: the guest's writes change our copy, and the device doesn't see them."""
TOLD: Final = "told"
"""Ours, and the device sees the guest's writes all the same."""
FIXED: Final = "fixed"
"""Ours, and nobody changes it; the device sees it whatever the guest writes."""
READ_ONLY: Final = "read-only"
"""The device's to be read; it doesn't see writes. For whole bytes."""
FOLLOWED: Final = "followed"
"""The device's, but what the guest writes has consequences here."""
PUT_BACK: Final = "put back"
"""The device's, and when the machine is reset it gets what was there before the guest came."""


class Row(NamedTuple):
    """Bits of the register of size bytes at offset, in a capability or the whole space.

    value is what fixed bits are; None: what the device had there at first. why is for people.
    """

    what: str
    offset: int
    size: int
    bits: int = -1
    whose: Whose = EMULATED
    value: int | None = None
    why: str = ""

    @property
    def mask(self) -> int:
        """The same bits, as a number that isn't negative."""
        return self.bits & (1 << 8 * self.size) - 1


def rows_at(rows: Iterable[Row], at: int, end: int) -> Iterator[Row]:
    """The rows of a capability at an offset, as far as they lie before end."""
    for row in rows:
        if at + row.offset + row.size <= end:
            yield row._replace(offset=at + row.offset)


class ConfigView:
    """Rows as masks over the bytes, and the ConfigSpace that has our bits."""

    def __init__(
        self, config: ConfigSpace, snapshot: ConfigSpace, rows: Iterable[Row], size: int
    ) -> None:
        """Put the values of fixed bits into config; snapshot holds the device's own.

        The guest sees size bytes of it, 256 or 4096.
        """
        self.config = config
        self.size = size
        self.told_rows: list[Row] = []
        """Registers of which the device has a copy."""
        self.put_back: list[tuple[int, int, int]] = []
        """(offset, size, value) of what the device gets when the machine is reset."""
        self._ours = bytearray(config.size)
        self._untold = bytearray(config.size)  # bits of ours that the device must not see change
        self._kept = bytearray(config.size)  # 0xff where the device doesn't see writes
        self._special = bytearray(config.size)
        for row in rows:
            self._add(row, snapshot)
        # Not zero in any byte but those that are the device's alone.
        for masks in (self._ours, self._kept):
            special = int.from_bytes(self._special, "little") | int.from_bytes(masks, "little")
            self._special[:] = special.to_bytes(config.size, "little")

    def _add(self, row: Row, snapshot: ConfigSpace) -> None:
        part = slice(row.offset, row.offset + row.size)
        # These are written by us, each as one access, of which PCI has none that is larger.
        assert row.whose not in (PUT_BACK, TOLD) or row.size in (1, 2, 4), row
        if row.whose == PUT_BACK:
            value = snapshot.read(row.offset, row.size)
            self.put_back.append((row.offset, row.size, value & row.mask))
            return
        if row.whose == READ_ONLY:
            self._kept[part] = b"\xff" * row.size
            return
        if row.whose == FOLLOWED:
            _set_bits(self._special, row)
            return
        _set_bits(self._ours, row)
        if row.whose == TOLD:
            self.told_rows.append(row)
            return
        _set_bits(self._untold, row)
        self._kept[part] = bytes(
            0xFF if untold == 0xFF else kept
            for untold, kept in zip(self._untold[part], self._kept[part], strict=True)
        )
        if row.whose == FIXED:
            value = snapshot.read(row.offset, row.size) if row.value is None else row.value
            old = self.config.read(row.offset, row.size) & ~row.mask
            self.config.data[part] = (old | value & row.mask).to_bytes(row.size, "little")

    def ours(self, offset: int, size: int) -> int:
        """The bits of these bytes that are ours."""
        return int.from_bytes(self._ours[offset : offset + size], "little")

    def is_the_devices(self, offset: int, size: int) -> bool:
        """Whether these bytes are the device's alone, and to write them has no other effect."""
        return not any(self._special[offset : offset + size])

    def told(self, offset: int, size: int, value: int) -> Iterator[tuple[int, int, int]]:
        """(offset, size, value) of the writes the device sees of the guest's, in order.

        It sees the write as it is if all its bytes are meant for it; else those that are, in
        pieces as large as can be: a register should not be written by halves. Bits that the guest
        can't change, or not for the device, are what they are with us.
        """
        part = slice(offset, offset + size)
        untold = int.from_bytes(self._untold[part], "little")
        if untold:
            value = value & ~untold | self.config.read(offset, size) & untold
        for at, length in _pieces(self._kept, offset, size):
            yield at, length, value >> 8 * (at - offset) & (1 << 8 * length) - 1


def _pieces(kept: bytearray, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of the largest aligned pieces of these bytes that have none that is kept."""
    if not any(kept[offset : offset + size]):
        yield offset, size
    elif size > 1:
        half = size // 2
        yield from _pieces(kept, offset, half)
        yield from _pieces(kept, offset + half, half)


def _set_bits(masks: bytearray, row: Row) -> None:
    part = slice(row.offset, row.offset + row.size)
    bits = int.from_bytes(masks[part], "little") | row.mask
    masks[part] = bits.to_bytes(row.size, "little")
