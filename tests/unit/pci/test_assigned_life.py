# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VFIO device as the guest sees it: reset, loss and close, and vCPUs that come all at once."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from pyvmm.kvm import KvmError
from pyvmm.memory import DEVICE, MemoryRegion
from pyvmm.pci.errors import BadDevice
from pyvmm.vfio import DeviceGone, EventFd, IoEventFd, IrqData
from tests.unit.pci.conftest import (
    COMMAND,
    IO,
    MASTER,
    MEMORY,
    MSI_AT,
    MSIX_AT,
    NO_INTX,
    VENDOR_AT,
    Setting,
    dead,
    device_regions,
    make_device,
)
from tests.unit.pci.fake_device import CONFIG, INTX, FakeDevice

LIMIT = 30.0  # seconds that a thread may take
GONE = DeviceGone("the server died")


def test_reset_is_power_on_with_bars_in_place(setting: Setting) -> None:
    addresses = [bar.address for bar in setting.function.bars]
    setting.write(COMMAND, 2, MEMORY | MASTER | NO_INTX)
    setting.write(0x10, 4, 0xD0000000)
    setting.write(MSIX_AT + 2, 2, 0x8000)
    setting.store(0xD0001800, 4, 0xFEE00000)
    setting.device.log.clear()
    setting.function.reset()
    assert ("reset",) in setting.device.log
    assert device_regions(setting) == []
    assert [bar.address for bar in setting.function.bars] == addresses
    assert setting.read(COMMAND, 2) == 0
    assert setting.device.config[COMMAND] == 0
    assert setting.read(MSIX_AT + 2, 2) == 15
    assert setting.device.kinds[INTX].enabled
    setting.write(COMMAND, 2, MEMORY)
    assert setting.load(addresses[0] + 0x1800, 4) == 0


def test_reset_is_told_to_a_device_that_keeps_its_configuration(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY | MASTER)
    setting.write(MSI_AT + 2, 2, 0x31)
    setting.write(MSIX_AT + 2, 2, 0xC000)
    config = setting.device.config
    assert (config[COMMAND], config[MSI_AT + 2], config[MSIX_AT + 3]) == (6, 0x31, 0xC0)
    setting.function.reset()
    assert (config[COMMAND], config[MSI_AT + 2], config[MSIX_AT + 3]) == (0, 0x86, 0)


def test_between_its_two_halves_a_reset_may_be_anyones(setting: Setting) -> None:
    use(setting)
    setting.device.log.clear()
    setting.function.prepare_reset()
    assert_removed(setting)
    assert not any(kind.enabled for kind in setting.device.kinds.values())
    assert setting.device.config[COMMAND] == 0
    assert ("reset",) not in setting.device.log
    setting.function.finish_reset()
    assert setting.device.kinds[INTX].enabled


class Keeping:
    """An observer that lets go of no BAR, as KVM does when it has no memory for the change."""

    def __init__(self) -> None:
        self.kept = True

    def region_added(self, region: MemoryRegion) -> None:
        pass

    def region_removed(self, region: MemoryRegion) -> None:
        if region.kind == DEVICE and self.kept:
            raise KvmError(f"{region.name} stays")


def test_what_kvm_keeps_of_a_bar_stays_mapped(setting: Setting) -> None:
    """The guest still reaches these addresses of ours: nothing else may come to be there."""
    keeping = Keeping()
    setting.memory.add_observer(keeping)
    setting.write(COMMAND, 2, MEMORY)
    hosts = [region.host for region in setting.memory.regions if region.kind == DEVICE]
    setting.write(COMMAND, 2, 0)
    setting.function.close()
    assert setting.function.guard.counts["BARs not taken back"] >= 1
    assert any("stays" in report for report in setting.reports)
    assert len(device_regions(setting)) == len(hosts)
    assert mapped(hosts) == hosts
    keeping.kept = False
    setting.memory.remove_observer(keeping)
    setting.memory.close()
    gc.collect()  # errors, too, hold what they came by
    assert mapped(hosts) == [], "with the guest's memory they go too"


def mapped(addresses: list[int]) -> list[int]:
    """Which of them are mapped in this process, to a file."""
    with open("/proc/self/maps") as maps:
        fields = [line.split() for line in maps]
    ranges = [range(*(int(end, 16) for end in one[0].split("-"))) for one in fields if one[5:]]
    return [address for address in addresses if any(address in one for one in ranges)]


def test_a_device_without_reset_is_not_asked_for_one(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.info = device.info._replace(flags=0)
    assert ("reset",) not in make(device).device.log


def test_a_device_that_is_gone_after_its_reset_is_told(setting: Setting) -> None:
    dead(setting.device)
    with pytest.raises(BadDevice, match="fake does not answer after its reset"):
        setting.function.reset()


def test_a_lost_device_reads_as_all_ones(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    tiny = setting.function.bars[3].address
    setting.device.refuse = setting.device.refuse_irqs = DeviceGone("the server died")
    assert setting.load(tiny, 4) == 0xFFFFFFFF
    assert setting.read(0, 4) == 0xFFFFFFFF
    assert setting.read(0x10, 4) == 0xFFFFFFFF, "as of a card that was pulled"
    setting.write(COMMAND, 2, 0)
    setting.write(MSI_AT + 2, 2, 1)
    setting.store(tiny, 4, 1)
    assert setting.function.guard.gone is setting.device.refuse
    setting.function.close()
    assert_removed(setting)
    setting.device.refuse = setting.device.refuse_irqs = None


def in_full_use(make: Callable[..., Setting], bell: EventFd, device: FakeDevice) -> Setting:
    """With BARs, a doorbell and a vector of MSI-X."""
    device.bells[0] = [IoEventFd(0x1000, 4, bell.fileno())]
    setting = make(device)
    use(setting)
    assert len(device_regions(setting)) == 3
    assert len(setting.vm.doorbells) == len(setting.vm.irqfds) == 1
    return setting


def use(setting: Setting) -> None:
    """All that a driver does."""
    bar0 = setting.function.bars[0].address
    setting.write(COMMAND, 2, MEMORY | MASTER)
    setting.write(0x10, 4, bar0 + 0x100000)
    setting.load(bar0 + 0x101000, 4)
    setting.write(MSI_AT + 2, 2, 1)
    setting.write(MSI_AT + 2, 2, 0)
    setting.write(MSIX_AT + 2, 2, 0x8000)
    setting.store(bar0 + 0x101800, 8, 0xFEE00000)
    setting.store(bar0 + 0x10180C, 4, 0)


def assert_removed(setting: Setting) -> None:
    """The guest has nothing of the device."""
    assert device_regions(setting) == []
    assert setting.vm.doorbells == {}
    assert setting.vm.irqfds == {}
    assert setting.vm.routing.allocated == set()
    for bar in setting.function.bars:
        assert bar.io or setting.mmio.lookup(bar.address, 4)[0] == setting.mmio.unclaimed.read


@pytest.fixture
def bell() -> Iterator[EventFd]:
    with EventFd() as bell:
        yield bell


def test_a_loss_that_an_access_finds(make: Callable[..., Setting], bell: EventFd) -> None:
    setting = in_full_use(make, bell, make_device())
    setting.device.refuse = GONE
    assert setting.load(setting.function.bars[3].address, 4) == 0xFFFFFFFF
    assert_removed(setting)
    assert not any(kind.enabled for kind in setting.device.kinds.values())
    setting.device.refuse = None


def test_a_loss_that_others_find(make: Callable[..., Setting], bell: EventFd) -> None:
    setting = in_full_use(make, bell, make_device())
    setting.function.lost(GONE)
    assert_removed(setting)
    setting.device.accesses.clear()
    assert setting.read(0, 4) == 0xFFFFFFFF
    use(setting)
    assert_removed(setting)
    with pytest.raises(DeviceGone, match="the server died"):
        setting.function.reset()
    assert setting.device.accesses == [], "it isn't asked again"
    setting.function.lost(DeviceGone("again"))
    setting.function.close()
    setting.function.lost(DeviceGone("and again"))
    assert_removed(setting)
    assert setting.function.guard.gone is GONE
    assert setting.reports == []


def test_a_loss_in_the_midst_of_a_change_on_the_same_thread(
    make: Callable[..., Setting], bell: EventFd
) -> None:
    class Device(FakeDevice):
        def region_write(self, index: int, offset: int, data: bytes) -> None:
            super().region_write(index, offset, data)
            if loses:
                setting.function.lost(GONE)

    loses = False
    setting = in_full_use(make, bell, make_device(Device))
    loses = True
    setting.write(COMMAND, 2, MEMORY)
    assert_removed(setting)


def test_who_brings_the_news_waits_for_nobody(make: Callable[..., Setting], bell: EventFd) -> None:
    """A vCPU is in the midst of a change, and its call ends only when the news has been told."""

    class Device(FakeDevice):
        def region_write(self, index: int, offset: int, data: bytes) -> None:
            super().region_write(index, offset, data)
            if loses:
                reader = threading.Thread(target=setting.function.lost, args=(GONE,))
                reader.start()
                reader.join(LIMIT)
                waited.append(reader.is_alive())

    loses = False
    waited: list[bool] = []
    setting = in_full_use(make, bell, make_device(Device))
    loses = True
    setting.write(COMMAND, 2, MEMORY)
    assert waited == [False]
    assert_removed(setting)


class Mortal(FakeDevice):
    """Is gone from its call number `last` on."""

    last = 1 << 30
    calls = 0

    def _live(self) -> None:
        self.calls += 1
        if self.calls > self.last:
            raise GONE

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        self._live()
        return super().region_read(index, offset, size)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        self._live()
        super().region_write(index, offset, data)

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        self._live()
        super().set_irqs(index, action, start, count, data)

    def reset(self) -> None:
        self._live()
        super().reset()


@pytest.mark.parametrize("what", [use, lambda setting: setting.function.reset()])
def test_a_loss_at_any_call(
    make: Callable[..., Setting], bell: EventFd, what: Callable[[Setting], None]
) -> None:
    survived = False
    for last in range(100):
        device = make_device(Mortal)
        assert isinstance(device, Mortal)
        setting = in_full_use(make, bell, device)
        device.calls, device.last = 0, last
        with suppress(DeviceGone):
            what(setting)
        survived = device.calls <= last
        if survived:
            break
        assert setting.function.guard.gone is GONE
        assert_removed(setting)
        use(setting)
        with pytest.raises(DeviceGone):
            setting.function.reset()
        assert_removed(setting)
        setting.function.close()
    assert survived
    assert last > 5


def test_a_loss_that_unmasking_finds(make: Callable[..., Setting]) -> None:
    """On the thread that unmasks INTx, which then ends with all the rest."""
    before = set(threading.enumerate())
    device = make_device()
    device.takes_unmask_fd = False
    setting = make(device)
    (unmasker,) = set(threading.enumerate()) - before
    setting.write(COMMAND, 2, MEMORY)
    device.refuse_irqs = GONE
    device.set_line(True)
    setting.vm.run()
    setting.vm.eoi(16)
    unmasker.join(LIMIT)
    assert not unmasker.is_alive()
    assert_removed(setting)
    assert setting.read(0, 4) == 0xFFFFFFFF
    device.refuse_irqs = None


def test_close_takes_everything_back_and_can_be_repeated(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY | IO)
    setting.write(MSI_AT + 2, 2, 0x31)
    setting.function.close()
    assert device_regions(setting) == []
    assert setting.vm.irqfds == {}
    assert setting.vm.routing.allocated == set()
    assert not any(kind.enabled for kind in setting.device.kinds.values())
    assert setting.load(setting.function.bars[3].address, 4) == 0xFFFFFFFF
    setting.function.close()


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Has Python switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_closed_function_does_no_more_dma(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY | MASTER)
    assert setting.device.config[COMMAND] & MASTER
    setting.function.close()
    assert setting.device.config[COMMAND] == 0


class Yielding(FakeDevice):
    """Lets other threads run at every access, as a call to another process does."""

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        os.sched_yield()
        return super().region_read(index, offset, size)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        os.sched_yield()
        super().region_write(index, offset, data)


TURNS = 40


class Vcpus:
    """Some move BAR 0 about and switch it on and off; one accesses it wherever it may be."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.errors: list[BaseException] = []
        self.values: set[int] = set()
        jobs = [self.move, self.move, self.move, self.access]
        self.threads = [
            threading.Thread(target=self.run, args=(job, number)) for number, job in enumerate(jobs)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, job: Callable[[int], None], number: int) -> None:
        try:
            for turn in range(TURNS):
                job(number + turn)
        except BaseException as error:
            self.errors.append(error)

    def move(self, number: int) -> None:
        self.setting.write(0x10, 4, 0xD0000000 + 0x100000 * number)
        self.setting.write(COMMAND, 2, MEMORY if number % 3 else 0)

    def access(self, number: int) -> None:
        for place in range(TURNS + 4):
            page = 0xD0001000 + 0x100000 * place
            self.setting.store(page + 4, 4, number)
            self.setting.store(page + 0x80C, 4, number & 1)
            self.values.add(self.setting.load(page, 4))

    def join(self) -> None:
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert self.errors == []


def test_vcpus_that_all_move_one_bar(make: Callable[..., Setting], impatient_threads: None) -> None:
    """Whoever wins, what is mapped is what the registers say, once."""
    setting = make(make_device(Yielding))
    setting.device.contents[0][0x1000:0x1004] = b"\1\2\3\4"
    vcpus = Vcpus(setting)
    vcpus.join()
    assert vcpus.values <= {0x04030201, 0xFFFFFFFF}
    setting.write(COMMAND, 2, MEMORY)
    address = setting.function.bars[0].decoded()
    assert address is not None
    assert device_regions(setting)[:2] == [(address, 0x1000), (address + 0x2000, 0x6000)]
    assert len(device_regions(setting)) == 3


def test_a_loss_while_vcpus_move_a_bar(
    make: Callable[..., Setting], impatient_threads: None
) -> None:
    for calls in (0, 10, 100):
        device = make_device(Yielding)
        setting = make(device)
        vcpus = Vcpus(setting)
        while len(device.accesses) < calls:
            os.sched_yield()
        setting.function.lost(GONE)
        vcpus.join()
        assert_removed(setting)
        assert setting.read(COMMAND, 2) == 0xFFFF


def test_a_loss_while_it_is_closed(make: Callable[..., Setting], impatient_threads: None) -> None:
    for _ in range(20):
        setting = make()
        setting.write(COMMAND, 2, MEMORY)
        other = threading.Thread(target=setting.function.lost, args=(GONE,))
        other.start()
        setting.function.close()
        other.join(LIMIT)
        assert not other.is_alive()
        assert_removed(setting)


def test_the_last_command_is_what_the_device_has(make: Callable[..., Setting]) -> None:
    """One vCPU turns decoding off while another's turning it on is still under way."""
    under_way, go_on = threading.Event(), threading.Event()

    class Device(FakeDevice):
        def region_write(self, index: int, offset: int, data: bytes) -> None:
            if (index, offset, data[0]) == (CONFIG, COMMAND, MEMORY):
                under_way.set()
                assert go_on.wait(30)
            super().region_write(index, offset, data)

    setting = make(make_device(Device))
    first = threading.Thread(target=setting.write, args=(COMMAND, 2, MEMORY))
    second = threading.Thread(target=setting.write, args=(COMMAND, 2, 0))
    first.start()
    assert under_way.wait(30)
    second.start()
    second.join(0.1)
    assert setting.read(VENDOR_AT, 4) == 0x01080009, "what is the device's alone goes on"
    go_on.set()
    first.join()
    second.join()
    assert setting.read(COMMAND, 2) == 0
    assert setting.device.config[COMMAND] == 0
    assert device_regions(setting) == []
