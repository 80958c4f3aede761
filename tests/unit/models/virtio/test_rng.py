# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-rng: as many random bytes as there is room for, up to its limit."""

from __future__ import annotations

from pyvmm.models.virtio import VirtioRng
from pyvmm.models.virtio.rng import MOST

from .driver import DATA, Driver


def test_random_bytes() -> None:
    with Driver(VirtioRng()) as driver:
        driver.start()
        assert driver.run([], [(DATA, 64), (DATA + 100, 64)]) == 128
        first, second = driver.memory[DATA : DATA + 64], driver.memory[DATA + 100 : DATA + 164]
        assert first != second
        assert len(set(first)) > 8
        assert not any(driver.memory[DATA + 64 : DATA + 100])


def test_no_more_than_so_many_for_one_request() -> None:
    with Driver(VirtioRng()) as driver:
        driver.start()
        assert driver.run([], [(DATA, MOST - 10), (DATA, 0xFFFFFFFF)]) == MOST
        assert driver.run([(DATA, 100)], []) == 0
