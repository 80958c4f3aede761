# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Model: regions, DMA, timers, work, reset and close, through the seam where it has them."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pyvmm.models import (
    Bar,
    Express,
    Identity,
    Model,
    ModelError,
    MsiX,
    PowerManagement,
    Rom,
    Vendor,
)
from pyvmm.models.registers import Doorbell
from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_EXP,
    PCI_CAP_ID_MSIX,
    PCI_CAP_ID_PM,
    PCI_CAP_ID_VNDR,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_BCR_FLR,
)
from pyvmm.uapi.vfio import (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS,
    VFIO_PCI_ROM_REGION_INDEX,
    VFIO_PCI_VGA_REGION_INDEX,
)
from pyvmm.vfio import Device, DeviceError, DeviceGone, DmaFault, EventFd, Interval
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities

CONFIG, ROM = VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
LIMIT = 30  # seconds; nothing here takes as long

Memory = Callable[[Device, int, int], mmap.mmap]


class Gadget(Model):
    """A device with RAM to map, a doorbell, a ROM, and methods to call from outside."""

    identity = Identity(
        0x1234, 0x0004, 0xFF0000, revision=2, subsystem_vendor=0x1AF4, subsystem=0x1100
    )
    capabilities = (
        PowerManagement(),
        Vendor(b"\1\2\3", writable=b"\xff"),
        Express(),
        MsiX(4, table=(0, 0x800), pba=(0, 0xC00)),
    )
    bar0 = Bar(0, 0x4000)
    VALUE = bar0.register(0x00, reset=7)
    START = bar0.register(0x04, "wo")
    BELL = bar0.doorbell(0x1000)
    SHARED = bar0.ram(0x2000, 0x1000, mappable=True)
    bar2 = Bar(2, 0x10000, wide=True, prefetchable=True)
    bar2.ram(0, 0x10000, mappable=True)
    rom = Rom(bytes(range(256)) * 8)

    def __init__(self) -> None:
        super().__init__("gadget")
        self.rung = EventFd()
        self.resets = 0

    def close(self) -> None:
        super().close()
        self.rung.close()

    @BELL.on_ring
    def ring(self, times: int) -> None:
        os.eventfd_write(self.rung.fileno(), times)

    @START.on_write
    def begin(self, value: int) -> None:
        self.dma_write(0, b"from a register's method")

    def on_reset(self) -> None:
        self.resets += 1


@pytest.fixture
def gadget() -> Iterator[Gadget]:
    with Gadget() as gadget:
        gadget.region_write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER.to_bytes(2, "little"))
        yield gadget


def work(model: Model, function: Callable[[], object]) -> object:
    """What function returned or raised as work of the model."""
    results: list[object] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(function())
        except DeviceError as error:
            results.append(error)

    model.start(run, lambda _: done.set())
    assert done.wait(LIMIT)
    return results[0]


def test_info(gadget: Gadget) -> None:
    assert gadget.info.pci
    assert gadget.info.resettable
    assert gadget.info.num_regions == VFIO_PCI_NUM_REGIONS
    assert gadget.info.num_irqs == VFIO_PCI_NUM_IRQS


def test_region_info(gadget: Gadget) -> None:
    bar0, bar2 = gadget.region_info(0), gadget.region_info(2)
    assert (bar0.size, bar0.readable, bar0.writable, bar0.mappable) == (0x4000, True, True, True)
    assert bar0.areas == (Interval(0x2000, 0x3000),)
    assert bar2.areas == (Interval(0, 0x10000),)
    rom, config = gadget.region_info(ROM), gadget.region_info(CONFIG)
    assert (rom.size, rom.readable, rom.writable, rom.mappable) == (2048, True, False, False)
    assert (config.size, config.writable, config.mappable) == (4096, True, False)
    for index in (1, 3, 4, 5, VFIO_PCI_VGA_REGION_INDEX):
        assert gadget.region_info(index).size == 0
        assert gadget.region_fd(index) == -1
    for index in (-1, VFIO_PCI_NUM_REGIONS, 1 << 40):
        with pytest.raises(DeviceError, match="EINVAL"):
            gadget.region_info(index)


def test_configuration_space(gadget: Gadget) -> None:
    assert gadget.region_read(CONFIG, 0, 4) == bytes.fromhex("34120400")
    assert gadget.region_read(CONFIG, 0, 4096) == bytes(gadget.config.data)
    found = [capability.id for capability in capabilities(gadget.config.read)]
    assert found == [PCI_CAP_ID_PM, PCI_CAP_ID_VNDR, PCI_CAP_ID_EXP, PCI_CAP_ID_MSIX]
    assert extended_capabilities(gadget.config.read) == []


def test_the_rom_can_be_read_and_not_written(gadget: Gadget) -> None:
    assert gadget.region_read(ROM, 0x102, 3) == b"\2\3\4"
    with pytest.raises(DeviceError, match="read-only"):
        gadget.region_write(ROM, 0, b"x")


@pytest.mark.parametrize("index", [0, 2, 3, ROM, CONFIG, VFIO_PCI_VGA_REGION_INDEX])
def test_what_is_outside_of_a_region_is_refused(gadget: Gadget, index: int) -> None:
    size = gadget.region_info(index).size
    for offset, length in (
        (size, 1),
        (size - 1, 2),
        (-1, 1),
        (-4, 4),
        (0, 0),
        (0, -1),
        (1 << 64, 4),
    ):
        with pytest.raises(DeviceError, match="gadget: reading") as caught:
            gadget.region_read(index, offset, length)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(DeviceError, match="gadget: writing"):
            gadget.region_write(index, offset, bytes(max(length, 0)))


def test_mapped_ram_is_the_model_s_own(gadget: Gadget) -> None:
    with gadget.map_region(0, Interval(0x2000, 0x3000)) as mapping:
        mapping.view[0x10:0x15] = b"hello"
        assert gadget.region_read(0, 0x2010, 5) == b"hello"
        assert bytes(gadget.SHARED[0x10:0x15]) == b"hello"
        gadget.region_write(0, 0x2010, b"J")
        assert bytes(mapping.view[0x10:0x15]) == b"Jello"


@pytest.mark.parametrize(
    "area", [(0, 0x1000), (0x1000, 0x3000), (0x2000, 0x4000), (0x2000, 0x2000)]
)
def test_what_is_trapped_can_not_be_mapped(gadget: Gadget, area: tuple[int, int]) -> None:
    with pytest.raises(DeviceError, match="EINVAL"):
        gadget.map_region(0, Interval(*area))


def test_nobody_can_shrink_ram_under_the_model(gadget: Gadget) -> None:
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(gadget.region_fd(0), 0)


def test_views_outlive_the_model() -> None:
    with Gadget() as gadget:
        mapping = gadget.map_region(2, Interval(0, 0x1000))
        view = gadget.SHARED
    view[0] = 1
    mapping.view[0] = 1
    mapping.close()


def test_a_doorbell_is_rung_by_message_and_by_eventfd(gadget: Gadget) -> None:
    gadget.region_write(0, 0x1000, bytes(4))
    assert gadget.rung.read() == 1
    (bell,) = gadget.ioeventfds(0)
    assert (bell.offset, bell.size, bell.datamatch) == (0x1000, 4, None)
    assert gadget.ioeventfds(0) == (bell,)
    assert gadget.ioeventfds(2) == gadget.ioeventfds(CONFIG) == ()
    os.eventfd_write(bell.fd, 5)
    total = 0
    while total < 5:
        assert gadget.rung.wait(LIMIT)
        total += gadget.rung.read()
    assert total == 5


def test_dma_moves_memory_both_ways(gadget: Gadget, memory: Memory) -> None:
    pages = memory(gadget, 0x10000, 0x2000)
    pages[0x100:0x105] = b"guest"
    assert work(gadget, lambda: gadget.dma_read(0x10100, 5)) == b"guest"
    work(gadget, lambda: gadget.dma_write(0x10FFE, b"model"))
    assert pages[0xFFE:0x1003] == b"model"

    def fill() -> None:
        with gadget.dma_view(0x11000, 4, write=True) as view:
            assert view is not None
            view[:] = b"view"

    work(gadget, fill)
    assert pages[0x1000:0x1004] == b"view"


@pytest.mark.parametrize(("iova", "size"), [(0, 4), (0x10FFE, 4), ((1 << 64) - 2, 4)])
def test_dma_that_reaches_nothing_is_a_fault(
    gadget: Gadget, memory: Memory, iova: int, size: int
) -> None:
    memory(gadget, 0x10000, 0x1000)
    assert isinstance(work(gadget, lambda: gadget.dma_read(iova, size)), DmaFault)
    assert isinstance(work(gadget, lambda: gadget.dma_write(iova, bytes(size))), DmaFault)
    view = work(gadget, lambda: gadget.dma_view(iova, size).__enter__())
    assert isinstance(view, DmaFault)


def test_dma_needs_bus_mastering(gadget: Gadget, memory: Memory) -> None:
    pages = memory(gadget, 0, 0x1000)
    gadget.region_write(CONFIG, PCI_COMMAND, bytes(2))
    fault = work(gadget, lambda: gadget.dma_write(0, b"no"))
    assert isinstance(fault, DmaFault)
    assert "bus mastering is off" in str(fault)
    assert pages[:2] == bytes(2)


def test_dma_from_a_register_s_method_is_the_model_s_bug(gadget: Gadget, memory: Memory) -> None:
    pages = memory(gadget, 0, 0x1000)
    gadget.region_write(0, 4, bytes(4))
    assert gadget.counters["RuntimeError in the model"] == 1
    assert not any(pages[:])


def test_work_that_raises_does_not_end_the_worker(
    gadget: Gadget, caplog: pytest.LogCaptureFixture
) -> None:
    gadget.start(lambda: 1 // 0)
    assert work(gadget, lambda: "still here") == "still here"
    assert gadget.counters["ZeroDivisionError in the model"] == 1
    assert "gadget: ZeroDivisionError" in caplog.text


def test_timers_go_off_in_their_order(gadget: Gadget) -> None:
    order: list[int] = []
    done = threading.Event()
    gadget.call_later(0.02, done.set)
    gadget.call_later(0.01, lambda: order.append(2))
    gadget.call_later(0, lambda: order.append(1))
    gadget.call_later(0, lambda: order.remove(99))  # raises
    assert done.wait(LIMIT)
    assert order == [1, 2]


def test_methods_run_with_the_lock_and_work_without(gadget: Gadget) -> None:
    def free() -> bool:
        """Whether another thread can have the lock."""
        result: list[bool] = []

        def attempt() -> None:
            got = gadget.lock.acquire(blocking=False)
            result.append(got)
            if got:
                gadget.lock.release()

        other = threading.Thread(target=attempt)
        other.start()
        other.join()
        return result[0]

    seen: list[bool] = []
    done = threading.Event()
    gadget.call_later(0, lambda: seen.append(free()))
    gadget.call_later(0, done.set)
    assert done.wait(LIMIT)
    done.clear()

    def finish(result: bool) -> None:
        seen.extend((result, free()))
        done.set()

    gadget.start(free, finish)
    assert done.wait(LIMIT)
    assert seen == [False, True, False]


def test_reset_puts_registers_back_and_keeps_the_rest(gadget: Gadget) -> None:
    gadget.region_write(0, 0, bytes(4))
    gadget.region_write(0, 0x2000, b"kept")
    gadget.reset()
    assert gadget.VALUE == 7
    assert gadget.resets == 1
    assert gadget.region_read(0, 0x2000, 4) == b"kept"
    assert gadget.bus_master


def test_reset_drops_work_and_refuses_its_dma(gadget: Gadget, memory: Memory) -> None:
    memory(gadget, 0, 0x1000)
    late: list[str] = []
    faults: list[str] = []
    started = threading.Event()

    def busy() -> None:
        started.set()
        deadline = time.monotonic() + LIMIT
        while not faults and time.monotonic() < deadline:
            try:
                gadget.dma_read(0, 4)
            except DmaFault as fault:
                faults.append(str(fault))

    gadget.start(busy, lambda _: late.append("its end"))
    gadget.start(lambda: late.append("the next work"))
    assert started.wait(LIMIT)
    gadget.reset()
    work(gadget, lambda: None)
    assert len(faults) == 1
    assert "the device was reset" in faults[0]
    assert late == []


def test_reset_waits_for_dma_under_way(gadget: Gadget, memory: Memory) -> None:
    pages = memory(gadget, 0, 0x1000)
    begun, go_on = threading.Event(), threading.Event()

    def fill() -> None:
        with gadget.dma_view(0, 4, write=True) as view:
            begun.set()
            assert go_on.wait(LIMIT)
            assert view is not None
            view[:] = b"view"

    found: list[bytes] = []

    def reset() -> None:
        gadget.reset()
        found.append(pages[:4])

    gadget.start(fill)
    assert begun.wait(LIMIT)
    thread = threading.Thread(target=reset)
    thread.start()
    thread.join(0.01)
    assert not found
    go_on.set()
    thread.join(LIMIT)
    assert found == [b"view"]


def test_reset_drops_timers(gadget: Gadget) -> None:
    late: list[str] = []
    with gadget.lock:
        # It is due, and waits for the lock, until it is too late.
        gadget.call_later(0, lambda: late.append("timer"))
        gadget.reset()
    after = threading.Event()
    gadget.call_later(0, after.set)
    assert after.wait(LIMIT)
    assert late == []


def test_a_guest_resets_the_function_by_flr(gadget: Gadget) -> None:
    express = next(c.offset for c in capabilities(gadget.config.read) if c.id == PCI_CAP_ID_EXP)
    gadget.region_write(0, 0, bytes(4))
    control = gadget.config.u16(express + PCI_EXP_DEVCTL)
    value = (control | PCI_EXP_DEVCTL_BCR_FLR).to_bytes(2, "little")
    gadget.region_write(CONFIG, express + PCI_EXP_DEVCTL, value)
    assert gadget.VALUE == 7
    assert gadget.resets == 1
    assert gadget.config.u16(express + PCI_EXP_DEVCTL) == control


def test_close_ends_it() -> None:
    gadget = Gadget()
    gadget.ioeventfds(0)
    gadget.call_later(3600, lambda: None)
    gadget.start(lambda: None)
    with EventFd() as trigger:
        gadget.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 0, [trigger.fileno()])
    names = {thread.name for thread in threading.enumerate()}
    assert {"gadget events", "gadget worker"} <= names
    gadget.close()
    gadget.close()
    for use in (
        lambda: gadget.region_read(0, 0, 4),
        lambda: gadget.region_write(0, 0, bytes(4)),
        lambda: gadget.set_irqs(0, 0, 0, 0, None),
        lambda: gadget.ioeventfds(0),
        gadget.reset,
    ):
        with pytest.raises(DeviceGone, match="gadget"):
            use()


def test_a_model_that_can_not_be_made_leaves_nothing() -> None:
    class Bad(Model):
        identity = Gadget.identity
        capabilities = (MsiX(4, table=(5, 0), pba=(0, 0xC00)),)
        bar0 = Gadget.bar0

    with pytest.raises(ValueError, match="BAR 5, which is not declared"):
        Bad()
    Bad.capabilities = (MsiX(4, table=(0, 0x2000), pba=(0, 0xC00)),)
    with pytest.raises(ValueError, match="declared twice"):
        Bad()
    Bad.capabilities = (MsiX(4, table=(0, 0), pba=(0, 0xC00)),)
    with pytest.raises(ValueError, match="registers in the RAM"):
        Bad()


def test_running_out_of_descriptors_is_told_and_leaves_nothing() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        with pytest.raises(ModelError, match="gadget BAR 2: memfd_create: EMFILE"):
            Gadget()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_doorbells_over_a_trapped_area() -> None:
    class Bells(Model):
        identity = Gadget.identity
        bar0 = Bar(0, 4096)
        BELL = bar0.doorbell(0x00)
        area = bar0.trapped(0x100, 0x100)

        def __init__(self, count: int) -> None:
            super().__init__()
            self.rung = threading.Semaphore(0)
            self.written: list[int] = []
            bells = [Doorbell(0x100 + 4 * one, 4) for one in range(count)]
            for bell in bells:
                bell.on_ring(lambda self, _times: self.rung.release())
            self.offer_doorbells(self.bar0, bells)

        @area.on_write
        def write(self, at: int, size: int, value: int) -> None:
            self.written.append(at)

    for count in (0, 2):
        with Bells(count) as bells:
            fds = {one.offset: one.fd for one in bells.ioeventfds(0)}
            assert list(fds) == [0x00, 0x100, 0x104][: 1 + count]
            assert list(bells.ioeventfds(1)) == []
            if count:
                os.eventfd_write(fds[0x104], 1)
                assert bells.rung.acquire(timeout=10)
            bells.region_write(0, 0x104, bytes(4))
            assert bells.written == [4]
