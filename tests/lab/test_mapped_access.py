# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mapped BARs: each access is one load or one store of its width, and a store reads nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pyvmm import vfio
from pyvmm.vfio import BadAccess, Interval
from tests.lab.profiles import TRANSLATED
from tests.lab.test_examples import load

pytestmark = pytest.mark.lab

LabDevice = Callable[[str], str]


def test_widths(backend: str, lab_device: LabDevice) -> None:
    """A register of edu's does not answer to any other width than its own."""
    with vfio.open(lab_device("edu"), backend=backend) as dev:
        bar = dev.bars[0].map()
        assert bar.areas == (Interval(0, 1 << 20),)
        assert bar.u32[0x00] == 0x010000ED
        assert bar.u8[0x00] != 0xED
        assert bar.u16[0x00] != 0x00ED
        assert bar.u64[0x00] & 0xFFFFFFFF != 0x010000ED
        bar.u32[0x04] = 0x12345678
        bar.u16[0x04] = 0
        bar.u8[0x07] = 0
        assert bar.u32[0x04] == 0x12345678 ^ 0xFFFFFFFF
        bar.u64[0x80] = 0x1122334455667788
        assert bar.u64[0x80] == 0x1122334455667788
        for wrong in (0x01, 0x02, 1 << 20, -4):
            with pytest.raises(BadAccess):
                bar.u32[wrong]


@pytest.mark.backends(*TRANSLATED)  # the driver has more memory than a page in one piece
def test_a_store_is_no_load(backend: str, lab_device: LabDevice) -> None:
    """A counter of frames is cleared by reading it; by a store that read it first as well."""
    frames_sent = 0x4080
    nic = load("nic")
    with vfio.open(lab_device("e1000e"), backend=backend) as dev:
        bar = dev.bars[0].map()
        driver = nic.Nic(dev)
        bar.u32[frames_sent]
        asyncio.run(nic.run(driver, "10.0.2.15", "10.0.2.2", 1))
        bar.u32[frames_sent] = 0
        bar.u8[frames_sent] = 0
        assert bar.u32[frames_sent] == 2
        assert bar.u32[frames_sent] == 0


def test_calls_and_mappings_reach_the_same(kind: str, backend: str, lab_device: LabDevice) -> None:
    with vfio.open(lab_device(kind), backend=backend) as dev:
        (bar, *_) = dev.bars
        with bar.map() as mapped:
            assert mapped.u32[0x08] == bar.u32[0x08]
