# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Our client and our server: a device looks the same from both sides of a socket."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_REGION_INFO_FLAG_CAPS,
)
from pyvmm.vfio import (
    DeviceError,
    DeviceGone,
    DmaFault,
    EventFd,
    Fds,
    Interval,
    Mapping,
)
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import PATIENCE, FakeDevice

BAR0, BAR2, CONFIG = 0, 2, 7
INTX, MSIX = 0, 2


@pytest.fixture
def ram() -> Iterator[tuple[int, Mapping]]:
    """Guest RAM: its file, and where it is in this process."""
    fd = os.memfd_create("ram", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 16 << 20)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    with Mapping(fd, 0, 16 << 20) as mapping:
        yield fd, mapping
    os.close(fd)


def test_it_is_the_same_device(connected: Client, device: FakeDevice) -> None:
    assert connected.info == device.info
    for index in range(device.info.num_regions):
        ours, theirs = connected.region_info(index), device.region_info(index)
        caps = VFIO_REGION_INFO_FLAG_CAPS if theirs.areas else 0
        assert ours == theirs._replace(flags=theirs.flags | caps, capabilities=ours.capabilities)
    for index in range(device.info.num_irqs):
        assert connected.irq_info(index) == device.irq_info(index)


def test_registers(connected: Client, device: FakeDevice) -> None:
    for size in (1, 2, 4, 8, 3, 256):
        data = os.urandom(size)
        connected.region_write(BAR0, 0x100, data)
        assert device.bytes[BAR0][0x100 : 0x100 + size] == data
        assert connected.region_read(BAR0, 0x100, size) == data


def test_more_than_fits_in_a_message(connected: Client) -> None:
    data = os.urandom((5 << 19) + 3)
    connected.region_write(BAR0, 1, data)
    assert connected.region_read(BAR0, 1, len(data)) == data


def test_mapped_areas(connected: Client, device: FakeDevice) -> None:
    with connected.map_region(BAR2, Interval(0x1000, 0x2000)) as mapping:
        mapping.view[:6] = b"mapped"
        assert connected.region_read(BAR2, 0x1000, 6) == b"mapped"
        connected.region_write(BAR2, 0x1FFC, b"back")
        assert bytes(mapping.view[-4:]) == b"back"


def test_interrupts(connected: Client, device: FakeDevice) -> None:
    count = device.irq_info(MSIX).count
    eventfds = [EventFd() for _ in range(count)]
    connected.set_triggers(MSIX, 0, [eventfd.fileno() for eventfd in eventfds])
    device.triggers[MSIX, 599].signal()
    assert eventfds[599].wait(PATIENCE)
    connected.set_irqs(MSIX, VFIO_IRQ_SET_ACTION_TRIGGER, 7, 1, None)
    assert eventfds[7].read() == 1
    connected.set_irqs(MSIX, VFIO_IRQ_SET_ACTION_TRIGGER, 300, 2, Fds([-1, -1]))
    assert (MSIX, 301) not in device.triggers
    assert (MSIX, 302) in device.triggers
    connected.disable_irqs(MSIX)
    assert not device.triggers
    for eventfd in eventfds:
        eventfd.close()


def test_unmasking_by_eventfd(connected: Client, device: FakeDevice) -> None:
    with EventFd() as unmask:
        connected.set_irqs(INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, Fds([unmask.fileno()]))
        unmask.signal()
        assert device.unmasks[INTX, 0].read() == 1


def test_doorbells(connected: Client, device: FakeDevice) -> None:
    doorbell, matching = connected.ioeventfds(BAR0)
    assert doorbell[:2] + doorbell[3:] == (0x1000, 4, None)
    assert matching[:2] + matching[3:] == (0x1004, 2, 0x1234)
    os.eventfd_write(doorbell.fd, 1)
    assert device.doorbell.wait(PATIENCE)


def test_errors_arrive(connected: Client, device: FakeDevice) -> None:
    device.resets = 100
    with pytest.raises(DeviceError, match="resetting: VFIO_USER_DEVICE_RESET: EBUSY"):
        connected.reset()
    with pytest.raises(DeviceError, match="reading 4 bytes at 0x100 of region 7"):
        connected.region_read(CONFIG, 0x100, 4)


def test_dma_through_the_file(
    connected: Client, device: FakeDevice, ram: tuple[int, Mapping]
) -> None:
    fd, mapping = ram
    address = mapping.address + 0x1000
    connected.dma.map(0x80000000, 0x4000, address=address, fd=fd, offset=0x1000)
    mapping.view[0x1000:0x1005] = b"guest"
    assert device.table.read(0x80000000, 5) == b"guest"
    with device.table.view(0x80000000, 5, write=True) as view:
        assert view is not None
        view[:] = b"write"
    assert bytes(mapping.view[0x1000:0x1005]) == b"write"
    del view
    connected.dma.unmap(0x80000000, 0x4000)
    with pytest.raises(DmaFault, match="not mapped"):
        device.table.read(0x80000000, 1)


@pytest.fixture
def by_message(connected: Client, ram: tuple[int, Mapping]) -> memoryview:
    """8 MiB at IOVA 0, and read-only 4 KiB behind them, that the server has no file of."""
    mapping = ram[1]
    connected.dma.map(0, 8 << 20, address=mapping.address)
    connected.dma.map(8 << 20, 4096, address=mapping.address + (8 << 20), writable=False)
    return mapping.view


def test_dma_by_message(by_message: memoryview, device: FakeDevice) -> None:
    data = os.urandom(3 << 20)
    device.table.write(0x12345, data)
    assert by_message[0x12345 : 0x12345 + len(data)] == data
    assert device.table.read(0x12345, len(data)) == data
    with device.table.view(0, 16) as view:
        assert view is None


def test_dma_by_message_reaches_only_what_is_mapped(
    by_message: memoryview, device: FakeDevice
) -> None:
    end = (8 << 20) + 4096
    for iova, size in ((end, 1), (end - 1, 2), ((1 << 64) - 1, 1)):
        with pytest.raises(DmaFault):
            device.table.read(iova, size)
    with pytest.raises(DmaFault):
        device.table.write(8 << 20, b"rom")


def test_dma_by_message_while_registers_are_accessed(
    connected: Client, by_message: memoryview, device: FakeDevice
) -> None:
    """Model workers and vCPUs, all at once, with large messages both ways: no deadlock."""
    workers, accessors, rounds, size = 3, 3, 12, 900_000
    failures: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for turn in range(rounds):
                data = bytes([i * rounds + turn]) * size
                device.table.write(i * size, data)
                assert device.table.read(i * size, size) == data
        except BaseException as e:
            failures.append(e)

    def use(i: int) -> None:
        try:
            for turn in range(rounds * 4):
                data = bytes([turn]) * (size if turn % 4 == 0 else 4)
                connected.region_write(BAR0, i * size, data)
                assert connected.region_read(BAR0, i * size, len(data)) == data
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
    threads += [threading.Thread(target=use, args=(i,)) for i in range(accessors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_dma_while_nobody_calls(by_message: memoryview, device: FakeDevice) -> None:
    """Then the client's idle thread serves it, again and again."""
    for turn in range(100):
        device.table.write(turn, bytes([turn]))
    assert bytes(by_message[:100]) == bytes(range(100))


def read_for_ever(device: FakeDevice, size: int) -> None:
    while True:
        device.table.read(0, size)


def test_dma_when_the_client_has_gone(
    connected: Client, by_message: memoryview, device: FakeDevice
) -> None:
    device.table.read(0, 1)
    connected.close()
    with pytest.raises(DmaFault):
        read_for_ever(device, 1)


def test_dma_that_is_waiting_when_the_client_goes(
    connected: Client, by_message: memoryview, device: FakeDevice
) -> None:
    """The client dies with the server's DMA_READ unanswered."""
    ended = threading.Event()

    def forever() -> None:
        with pytest.raises(DmaFault):
            read_for_ever(device, 1 << 20)
        ended.set()

    thread = threading.Thread(target=forever)
    thread.start()
    connected.close()
    assert ended.wait(PATIENCE)
    thread.join(PATIENCE)


def test_calls_from_many_threads_get_their_own_replies(connected: Client) -> None:
    failures: list[object] = []

    def use(i: int) -> None:
        data = bytes([i]) * 8
        for _ in range(200):
            connected.region_write(BAR0, i * 8, data)
            if connected.region_read(BAR0, i * 8, 8) != data:
                failures.append(i)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures


def test_what_a_forked_process_closes_stays_the_parents(connected: Client) -> None:
    """Both have the socket and the idle reader's files."""
    before = connected.region_read(0, 0, 4)
    child = os.fork()
    if child == 0:
        try:
            connected.close()
            with pytest.raises(DeviceGone):
                connected.region_read(0, 0, 4)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connected.region_read(0, 0, 4) == before
