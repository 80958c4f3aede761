# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI transport: how a driver finds, starts, uses and resets a device."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pyvmm.models.virtio import Chain, VirtioRng
from pyvmm.models.virtio.pci import EVENT_IDX, INDIRECT_DESC, NEEDS_RESET
from pyvmm.uapi.vfio import VFIO_PCI_INTX_IRQ_INDEX
from pyvmm.vfio import EventFd

from .driver import CONFIG, DATA, LIMIT, MEMORY, USED, Driver


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Driver(VirtioRng()) as driver:
        yield driver
        assert not [kind for kind in driver.model.counters if kind.endswith("in the model")]


def capabilities(driver: Driver) -> dict[int, tuple[int, int, int]]:
    """The places of virtio's capabilities: type to BAR, offset, length."""
    config = driver.model.region_read(CONFIG, 0, 256)
    found = {}
    at = config[0x34]
    while at:
        if config[at] == 0x09:
            kind, bar, _, _, offset, length = struct.unpack_from("<BBBHII", config, at + 3)
            found[kind] = (bar, offset, length)
        at = config[at + 1]
    return found


def test_capabilities(driver: Driver) -> None:
    assert driver.model.region_read(CONFIG, 0, 4) == b"\xf4\x1a\x44\x10"
    assert driver.model.region_read(CONFIG, 8, 1) == b"\1"
    assert capabilities(driver) == {
        1: (0, 0x0000, 0x1000),
        2: (0, 0x3000, 0x1000),
        3: (0, 0x1000, 0x1000),
        4: (0, 0x2000, 0x1000),
        5: (0, 0, 0),
    }


def test_features_are_offered_and_accepted(driver: Driver) -> None:
    offered = 0
    for select in range(2):
        driver.write(0x00, select, 4)
        offered |= driver.read(0x04, 4) << 32 * select
    assert offered == 1 << 32 | INDIRECT_DESC | EVENT_IDX
    driver.write(0x00, 2, 4)
    assert driver.read(0x04, 4) == 0
    for accepted, ok in (((1 << 32), True), (0, False), (1 << 32 | 1, False), (offered, True)):
        driver.reset()
        for select in range(2):
            driver.write(0x08, select, 4)
            driver.write(0x0C, accepted >> 32 * select & 0xFFFFFFFF, 4)
        driver.write(0x14, 0x0B, 1)
        assert bool(driver.status & 8) == ok


def test_queues(driver: Driver) -> None:
    assert driver.read(0x12, 2) == 1
    assert driver.read(0x18, 2) == 64
    driver.write(0x16, 1, 2)
    assert (driver.read(0x18, 2), driver.read(0x1A, 2)) == (0, 0xFFFF), "there is none"
    driver.write(0x1C, 1, 2)
    driver.write(0x20, 0x1234, 8)
    assert (driver.read(0x1C, 2), driver.read(0x20, 8)) == (0, 0)
    driver.write(0x16, 0, 2)
    for size, becomes in ((128, 64), (0, 64), (7, 64), (8, 8)):
        driver.write(0x18, size, 2)
        assert driver.read(0x18, 2) == becomes
    driver.write(0x20, 0x11223344, 4)
    driver.write(0x24, 0x55667788, 4)
    assert driver.read(0x20, 8) == 0x5566778811223344
    for vector, becomes in ((3, 3), (5, 0xFFFF), (0xFFFF, 0xFFFF)):
        driver.write(0x1A, vector, 2)
        assert driver.read(0x1A, 2) == becomes
        driver.write(0x10, vector, 2)
        assert driver.read(0x10, 2) == becomes
    driver.write(0x1C, 1, 2)
    driver.write(0x18, 16, 2)
    assert (driver.read(0x1C, 2), driver.read(0x18, 2)) == (1, 8), "it is in use"
    driver.reset()
    assert (driver.read(0x1C, 2), driver.read(0x18, 2), driver.read(0x20, 8)) == (0, 64, 0)


@pytest.mark.parametrize("features", [0, EVENT_IDX])
def test_requests_and_interrupts(driver: Driver, features: int) -> None:
    driver.start(features)
    for turn in range(40):  # more than twice around the ring
        if features:
            struct.pack_into("<H", driver.memory, 0x3000 + 4 + 2 * 16, turn)  # used_event
        assert driver.run([], [(DATA, 100), (DATA + 200, 50)]) == 150
        assert driver.vectors[1].wait(LIMIT)
        assert driver.vectors[1].read() == 1
    assert any(driver.memory[DATA : DATA + 100])
    assert not any(driver.memory[DATA + 100 : DATA + 200])


def test_interrupts_that_nobody_wants(driver: Driver) -> None:
    driver.start()
    driver.memory[0x3000] = 1  # VIRTQ_AVAIL_F_NO_INTERRUPT
    assert driver.run([], [(DATA, 10)]) == 10
    driver.start(EVENT_IDX)
    struct.pack_into("<H", driver.memory, 0x3000 + 4 + 2 * 16, 5)
    assert driver.run([], [(DATA, 10)]) == 10
    time.sleep(0.01)
    assert driver.vectors[1].read() == 0


def test_an_indirect_table(driver: Driver) -> None:
    driver.start(INDIRECT_DESC)
    table = DATA + 0x1000
    for index in range(30):
        more = index < 29
        struct.pack_into(
            "<QIHH", driver.memory, table + 16 * index, DATA + index, 1, 2 | more, index + 1
        )
    driver.describe(3, table, 16 * 30, 4)
    driver.make_available(3)
    driver.notify()
    assert driver.used() == [(3, 30)]


def test_many_requests_of_one_notification(driver: Driver) -> None:
    driver.start()
    for head in range(16):
        driver.offer([], [(DATA + head, 1)], head)
    driver.notify()
    assert driver.used(16) == [(head, 1) for head in range(16)]
    assert driver.vectors[1].wait(LIMIT)


def test_intx(driver: Driver) -> None:
    with Driver(VirtioRng(), messages=False) as driver, EventFd() as intx:
        driver.model.set_triggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [intx.fileno()])
        driver.start()
        driver.run([], [(DATA, 10)])
        assert intx.wait(LIMIT)
        line = driver.model._interrupts.intx
        assert line.level
        assert driver.read(0x1000, 1) == 1
        assert not line.level
        assert driver.read(0x1000, 1) == 0


@pytest.mark.parametrize(
    "breakage",
    [
        pytest.param(lambda driver: driver.make_available(16), id="a head that is none"),
        pytest.param(lambda driver: driver.make_available(*[0] * 17), id="more than fit"),
        pytest.param(
            lambda driver: (driver.describe(0, DATA, 1, 3, 0), driver.make_available(0)),
            id="a loop",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, DATA, 1, 3, 99), driver.make_available(0)),
            id="a next that is none",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, DATA, 24, 4), driver.make_available(0)),
            id="half an indirect table",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, DATA, 0, 4), driver.make_available(0)),
            id="an empty indirect table",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, DATA, 0xFFFFFFF0, 4), driver.make_available(0)),
            id="a huge indirect table",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, MEMORY, 16, 4), driver.make_available(0)),
            id="an indirect table that is not there",
        ),
        pytest.param(
            lambda driver: (driver.describe(0, MEMORY, 16, 2), driver.make_available(0)),
            id="memory that is not there",
        ),
    ],
)
def test_what_can_not_be_in_a_queue(driver: Driver, breakage: object) -> None:
    driver.start()
    driver.write(0x10, 0, 2)
    breakage(driver)  # type: ignore[operator]
    driver.notify()
    driver.wait_for_status(0x0F | NEEDS_RESET)
    assert driver.vectors[0].wait(LIMIT)
    driver.start()
    assert driver.run([], [(DATA, 10)]) == 10


def test_a_nested_indirect_table(driver: Driver) -> None:
    driver.start()
    struct.pack_into("<QIHH", driver.memory, DATA, DATA, 16, 4, 0)
    driver.describe(0, DATA, 16, 4)
    driver.make_available(0)
    driver.notify()
    driver.wait_for_status(0x0F | NEEDS_RESET)


def test_a_reset_waits_for_what_is_under_way(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_queue: int, _chain: Chain) -> int:
        begun.set()
        assert go_on.wait(LIMIT)
        return 0

    monkeypatch.setattr(driver.model, "handle", slow)
    driver.start()
    driver.offer([], [(DATA, 10)])
    driver.notify()
    assert begun.wait(LIMIT)
    driver.write(0x14, 0, 1)
    assert driver.status != 0
    driver.write(0x14, 1, 1)
    go_on.set()
    driver.wait_for_status(0)


def test_a_function_reset(driver: Driver) -> None:
    driver.start()
    driver.run([], [(DATA, 10)])
    driver.model.reset()
    assert (driver.status, driver.read(0x18, 2)) == (0, 64)
    driver.start()
    driver.run([], [(DATA, 10)])


def test_doorbells_are_ioeventfds(driver: Driver) -> None:
    driver.start()
    doorbell = driver.model.ioeventfds(0)[0]
    assert (doorbell.offset, doorbell.size) == (0x3000, 2)
    driver.offer([], [(DATA, 10)])
    with EventFd.from_fd(doorbell.fd) as rung:
        rung.signal()
    assert driver.used() == [(0, 10)]


def test_the_window_in_configuration_space(driver: Driver) -> None:
    model = driver.model
    at = 0x84

    def place(offset: int, size: int) -> None:
        model.region_write(CONFIG, at + 4, b"\0")
        model.region_write(CONFIG, at + 8, struct.pack("<II", offset, size))

    place(0x12, 2)
    assert model.region_read(CONFIG, at + 16, 4)[:2] == b"\1\0"
    place(0x14, 1)
    model.region_write(CONFIG, at + 16, b"\3")
    assert driver.status == 3
    for offset, size in ((0x13, 2), (0x8000, 4), (0xFFFFFFFC, 4), (0, 8), (0, 0)):
        place(offset, size)
        model.region_write(CONFIG, at + 16, b"\x55" * 4)
        assert model.region_read(CONFIG, at + 16, 4) == b"\x55" * 4
    assert driver.status == 3


def test_used_is_written_before_its_index(driver: Driver) -> None:
    driver.start()
    driver.run([], [(DATA, 4)])
    assert struct.unpack_from("<HHII", driver.memory, USED) == (0, 1, 0, 4)
