# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""struct vfio_irq_set: what is packed is unpacked, and nothing else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi import vfio
from pyvmm.vfio import Fds
from pyvmm.vfio.irq_set import IrqSet, pack, unpack

TRIGGER, MASK = vfio.VFIO_IRQ_SET_ACTION_TRIGGER, vfio.VFIO_IRQ_SET_ACTION_MASK
NONE, BOOL = vfio.VFIO_IRQ_SET_DATA_NONE, vfio.VFIO_IRQ_SET_DATA_BOOL
EVENTFD = vfio.VFIO_IRQ_SET_DATA_EVENTFD


@given(st.integers(0, 9), st.integers(0, 99), st.lists(st.booleans(), max_size=9))
def test_there_and_back(index: int, start: int, values: list[bool]) -> None:
    count = len(values)
    assert unpack(pack(index, MASK, start, count, None)) == (index, MASK, NONE, start, count, b"")
    booleans = IrqSet(index, MASK, BOOL, start, count, bytes(values))
    assert unpack(pack(index, MASK, start, count, values)) == booleans
    fds = Fds(range(count))
    packed = unpack(pack(index, TRIGGER, start, count, fds))
    assert packed.data == struct.pack(f"={count}i", *fds)
    aside = unpack(pack(index, TRIGGER, start, count, fds, fds_aside=True))
    assert aside == packed._replace(data=b"")


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "short"),
        (struct.pack("=IIIII", 20, NONE | MASK, 0, 0, 1)[:-1], "short"),
        (struct.pack("=IIIII", 19, NONE | MASK, 0, 0, 1), "argsz 19"),
        (struct.pack("=IIIII", 20, NONE, 0, 0, 1), "flags"),
        (struct.pack("=IIIII", 20, MASK, 0, 0, 1), "flags"),
        (struct.pack("=IIIII", 20, NONE | BOOL | MASK, 0, 0, 1), "flags"),
        (struct.pack("=IIIII", 20, NONE | MASK | TRIGGER, 0, 0, 1), "flags"),
        (struct.pack("=IIIII", 20, NONE | MASK | 1 << 6, 0, 0, 1), "flags"),
        (struct.pack("=IIIII", 21, BOOL | MASK, 0, 0, 2) + b"\1", "1 booleans for 2"),
    ],
)
def test_what_makes_no_sense(payload: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        unpack(payload)
