# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whatever a guest does with a virtio device, nothing raises or blocks; after a reset it works."""

from __future__ import annotations

import struct
import time

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.models.virtio import VirtioBlk, VirtioDevice, VirtioRng
from pyvmm.models.virtio.blk import IN, OK

from .driver import AVAILABLE, CONFIG, DATA, DESCRIPTORS, LIMIT, MEMORY, USED, Driver

addresses = st.one_of(
    st.sampled_from((0, DESCRIPTORS, AVAILABLE, USED, DATA, MEMORY, MEMORY - 8, (1 << 64) - 16)),
    st.integers(0, (1 << 64) - 1),
)
descriptors = st.builds(
    struct.Struct("<QIHH").pack,
    addresses,
    st.one_of(st.sampled_from((0, 1, 16, 32, 512, 0xFFFFFFFF)), st.integers(0, 0xFFFFFFFF)),
    st.integers(0, 7),
    st.one_of(st.integers(0, 20), st.integers(0, 0xFFFF)),
)


class Guest(RuleBasedStateMachine):
    """It writes registers, descriptors and rings as it likes, and notifies."""

    @initialize(kind=st.sampled_from((VirtioRng, VirtioBlk)), features=st.sampled_from((0, 3)))
    def start(self, kind: type[VirtioDevice], features: int) -> None:
        self.driver = Driver(VirtioBlk(size=1 << 20) if kind is VirtioBlk else kind())
        self.driver.start(features << 28)

    @rule(at=st.integers(0, 15), written=st.lists(descriptors, min_size=1, max_size=8))
    def write_descriptors(self, at: int, written: list[bytes]) -> None:
        place = DESCRIPTORS + 16 * at
        data = b"".join(written)
        self.driver.memory[place : place + len(data)] = data

    @rule(heads=st.lists(st.integers(0, 17), max_size=20))
    def offer(self, heads: list[int]) -> None:
        self.driver.make_available(*heads)
        self.driver.notify()

    @rule(
        at=st.sampled_from((AVAILABLE, AVAILABLE + 2, AVAILABLE + 36)), value=st.integers(0, 0xFFFF)
    )
    def write_ring(self, at: int, value: int) -> None:
        struct.pack_into("<H", self.driver.memory, at, value)

    @rule(
        at=st.one_of(
            st.integers(0, 0x3F), st.sampled_from((0x1000, 0x2000, 0x3000, 0x3004, 0x4000))
        ),
        size=st.sampled_from((1, 2, 4, 8)),
        value=st.one_of(st.integers(0, 0x10), addresses),
    )
    def write_register(self, at: int, size: int, value: int) -> None:
        self.driver.write(at, value & (1 << 8 * size) - 1, size)
        self.driver.read(at, size)

    @rule(at=st.integers(0x40, 0xA0), data=st.binary(min_size=1, max_size=8))
    def write_configuration(self, at: int, data: bytes) -> None:
        self.driver.model.region_write(CONFIG, at, data)
        self.driver.model.region_read(CONFIG, at, len(data))

    @rule()
    def reset(self) -> None:
        self.driver.model.reset()

    @invariant()
    def nothing_is_the_model_s_fault(self) -> None:
        counters = self.driver.model.counters
        assert not [kind for kind in counters if kind.endswith("in the model")], counters

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        with self.driver as driver:
            driver.start()
            if isinstance(driver.model, VirtioBlk):
                struct.pack_into("<IIQ", driver.memory, DATA, IN, 0, 0)
                driver.memory[DATA + 1024] = 0xEE
                assert driver.run([(DATA, 16)], [(DATA + 512, 512), (DATA + 1024, 1)]) == 513
                assert driver.memory[DATA + 1024] == OK
            else:
                assert driver.run([], [(DATA, 10)]) == 10
            self.nothing_is_the_model_s_fault()


TestGuest = Guest.TestCase


def test_a_driver_that_never_stops_offering_does_not_keep_the_device_from_a_reset() -> None:
    with Driver(VirtioRng()) as driver:
        driver.start()
        driver.describe(0, DATA, 10, 2)
        deadline = time.monotonic() + LIMIT
        for _ in range(200):
            driver.make_available(*[0] * 8)
            driver.notify()
            driver.used(8)
            assert time.monotonic() < deadline
        driver.make_available(*[0] * 16)
        driver.notify()
        driver.reset()
