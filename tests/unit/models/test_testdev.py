# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""testdev: what docs/testdev.md promises the guests that drive it."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from pyvmm import models
from pyvmm.models import Model
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_STATUS, PCI_STATUS_INTERRUPT
from pyvmm.uapi.vfio import (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_ROM_REGION_INDEX,
)
from pyvmm.vfio import Device, EventFd, Interval
from pyvmm.vfio.pci_capabilities import CapabilityHeader, capabilities, extended_capabilities

CONFIG, ROM = VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
MSI, MSIX = VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
LIMIT = 30  # seconds; nothing here takes as long
ID = 0x74736574

CHECKSUM, FILL, TO_DEVICE, TO_MEMORY = 1, 2, 3, 4
IDLE, DONE, ERROR = 0, 2, 3

Memory = Callable[[Device, int, int], mmap.mmap]


@pytest.fixture
def testdev() -> Iterator[Model]:
    with models.create("testdev", {}) as testdev:
        testdev.region_write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER.to_bytes(2, "little"))
        yield testdev


@pytest.fixture
def vectors(testdev: Model) -> Iterator[list[EventFd]]:
    """Its 64 MSI-X vectors, turned on."""
    fds = [EventFd() for _ in range(64)]
    testdev.set_triggers(MSIX, 0, [fd.fileno() for fd in fds])
    yield fds
    for fd in fds:
        fd.close()


def read(testdev: Model, offset: int, size: int = 4, bar: int = 0) -> int:
    return int.from_bytes(testdev.region_read(bar, offset, size), "little")


def write(testdev: Model, offset: int, value: int, size: int = 4, bar: int = 0) -> None:
    testdev.region_write(bar, offset, value.to_bytes(size, "little"))


def test_configuration_space(testdev: Model) -> None:
    data = testdev.region_read(CONFIG, 0, 4096)
    vendor, device, _, _, revision_class = struct.unpack_from("<HHHHI", data)
    assert (vendor, device, revision_class) == (0x1234, 0x7E57, 0xFF000001)
    assert struct.unpack_from("<HH", data, 0x2C) == (0x1234, 0x0001)
    assert data[0x3D] == 1
    assert [(c.id, c.offset) for c in capabilities(testdev.config.read)] == [
        (0x01, 0x40),
        (0x05, 0x50),
        (0x11, 0x70),
        (0x09, 0x80),
        (0x10, 0x90),
    ]
    assert extended_capabilities(testdev.config.read) == [
        CapabilityHeader(0x03, 0x100, 1),
        CapabilityHeader(0x0B, 0x110, 1),
    ]


def test_bars_tell_their_kinds_and_sizes(testdev: Model) -> None:
    for offset in range(0x10, 0x28, 4):
        testdev.region_write(CONFIG, offset, b"\xff" * 4)
    testdev.region_write(CONFIG, 0x30, b"\xff" * 4)
    bars = struct.unpack("<6I", testdev.region_read(CONFIG, 0x10, 24))
    assert bars == (0xFFFF0000, 0xFFFFFF01, 0xFFE0000C, 0xFFFFFFFF, 0xFFFFFF00, 0xFFFFFF88)
    assert testdev.config.u32(0x30) == 0xFFFFF001
    sizes = [testdev.region_info(index).size for index in range(7)]
    assert sizes == [0x10000, 0x100, 0x200000, 0, 0x100, 0x80, 0x1000]
    assert testdev.region_info(0).areas == (Interval(0x4000, 0xC000),)
    assert testdev.region_info(2).areas == (Interval(0, 0x200000),)
    assert not testdev.region_info(1).mappable
    assert not testdev.region_info(4).mappable
    assert testdev.region_info(5).areas == (Interval(0, 0x80),)
    assert [index for index in range(7) if testdev.owns_page(index)] == [5]


def test_capabilities_hold_what_was_promised(testdev: Model) -> None:
    config = testdev.config
    assert config.u16(0x52) == 0x0186, "MSI: 64-bit, maskable, 8 vectors"
    assert (config.u16(0x72), config.u32(0x74), config.u32(0x78)) == (63, 0x800, 0xC00)
    assert config.u8(0x82) == 16
    assert config.u16(0x92) == 0x0002
    assert config.read(0x104, 8) == 0x0123456789ABCDEF
    assert config.u32(0x114) == 24 << 20 | 1 << 16 | 0x7E57
    for offset, size in ((0x88, 8), (0x11C, 12)):
        testdev.region_write(CONFIG, offset - 4, bytes(range(0xA0, 0xA0 + size + 8)))
        assert testdev.region_read(CONFIG, offset, size) == bytes(range(0xA4, 0xA4 + size))
    assert config.u8(0x90) == 0x10, "beyond the vendor's 16 bytes nothing changed"
    assert testdev.region_read(CONFIG, 0x83, 5) == bytes(5)
    assert config.u32(0x114) == 24 << 20 | 1 << 16 | 0x7E57
    testdev.region_write(CONFIG, 0x50, b"\xff" * 24)
    assert struct.unpack("<HHQHHII", testdev.region_read(CONFIG, 0x50, 24)) == (
        0x7005,
        0x01F7,
        0xFFFFFFFF_FFFFFFFC,
        0xFFFF,
        0,
        0xFF,
        0,
    )


def test_fixed_registers(testdev: Model) -> None:
    assert (read(testdev, 0x00), read(testdev, 0x04)) == (ID, 1)
    for offset in (0x00, 0x04, 0x0C, 0x18, 0x1C, 0x30, 0x34):
        before = read(testdev, offset)
        write(testdev, offset, 0x5A5A5A5A)
        assert read(testdev, offset) - before in (0, 2), "only TRAPS counts on"


def test_scratch_takes_every_width(testdev: Model) -> None:
    write(testdev, 0x08, 0x44332211)
    assert [read(testdev, 0x08 + i, 1) for i in range(4)] == [0x11, 0x22, 0x33, 0x44]
    write(testdev, 0x0A, 0xBEEF, 2)
    write(testdev, 0x08, 0x99, 1)
    assert read(testdev, 0x08) == 0xBEEF2299


@pytest.mark.parametrize("offset", [0x00, 0x04, 0x0C, 0x14, 0x18, 0x1C, 0x28, 0x30, 0x38, 0x3C])
@pytest.mark.parametrize("size", [1, 2])
def test_other_registers_take_four_bytes(testdev: Model, offset: int, size: int) -> None:
    write(testdev, offset, 0, size)
    assert read(testdev, offset, size) == (1 << 8 * size) - 1


def test_traps_counts_accesses_of_bar_0(testdev: Model) -> None:
    assert read(testdev, 0x0C) == 1
    write(testdev, 0x08, 1)
    read(testdev, 0xC000, 8)
    read(testdev, 0x0000, 1)
    read(testdev, 0x10, bar=1)
    read(testdev, 0, bar=2)
    assert read(testdev, 0x0C) == 5


def test_the_trapped_end_of_bar_0_reads_zero(testdev: Model) -> None:
    write(testdev, 0xC000, 0xFFFFFFFF)
    assert read(testdev, 0xC000) == read(testdev, 0xFFFC) == 0


def test_io_bar(testdev: Model) -> None:
    testdev.region_write(1, 0, bytes(range(16)))
    assert read(testdev, 3, 1, bar=1) == 3
    assert read(testdev, 4, 2, bar=1) == 0x0504
    assert read(testdev, 0x10, bar=1) == ID
    write(testdev, 0x10, 0, bar=1)
    assert read(testdev, 0x10, bar=1) == ID
    write(testdev, 0x14, 0xFF, bar=1)
    assert read(testdev, 0x14, bar=1) == read(testdev, 0xFC, bar=1) == 0


def test_sub_page_bar(testdev: Model) -> None:
    assert read(testdev, 0, bar=4) == ID
    testdev.region_write(4, 0x10, bytes(range(16)))
    assert testdev.region_read(4, 0x10, 16) == bytes(range(16))
    write(testdev, 0x20, 1, bar=4)
    assert read(testdev, 0x20, bar=4) == read(testdev, 0x04, bar=4) == 0


def test_rom(testdev: Model) -> None:
    rom = testdev.region_read(ROM, 0, 4096)
    assert rom[:3] == b"\x55\xaa\x08"
    assert rom[0x10:0x21] == b"pyvmm testdev rom"
    assert all(rom[i] == i & 0xFF for i in (*range(3, 0x10), *range(0x21, 4096)))


def test_ram_areas_are_mapped_and_trapped_alike(testdev: Model) -> None:
    for bar, area in ((0, Interval(0x4000, 0xC000)), (2, Interval(0, 0x200000))):
        with testdev.map_region(bar, area) as mapping:
            mapping.view[-4:] = b"last"
            assert testdev.region_read(bar, area.end - 4, 4) == b"last"
            testdev.region_write(bar, area.start, b"first")
            assert bytes(mapping.view[:5]) == b"first"


def test_irq_raise_and_mode(testdev: Model) -> None:
    assert read(testdev, 0x1C) == 0
    with EventFd() as fd:
        testdev.set_triggers(MSI, 7, [fd.fileno()])
        assert read(testdev, 0x1C) == 1
        write(testdev, 0x10, 7)
        assert fd.read() == 1
        testdev.disable_irqs(MSI)
        testdev.set_triggers(MSIX, 63, [fd.fileno()])
        assert read(testdev, 0x1C) == 2
        write(testdev, 0x10, 63)
        write(testdev, 0x10, 64)
        write(testdev, 0x10, 0xFFFFFFFF)
        assert fd.read() == 1


def test_intx(testdev: Model) -> None:
    with EventFd() as fd:
        testdev.set_triggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [fd.fileno()])
        write(testdev, 0x14, 0xFFFFFFFF)
        assert read(testdev, 0x14) == 1
        assert fd.read() == 1
        assert testdev.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT
        write(testdev, 0x14, 0)
        assert not testdev.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT


def test_doorbell(testdev: Model) -> None:
    (bell,) = testdev.ioeventfds(0)
    assert (bell.offset, bell.size) == (0x1000, 4)
    write(testdev, 0x1000, 0xABCD)
    write(testdev, 0x1004, 1)
    write(testdev, 0x1000, 1, 2)
    assert read(testdev, 0x18) == 1
    os.eventfd_write(bell.fd, 3)
    for _ in range(2):  # the model's thread looks at doorbells after its timers
        seen = threading.Event()
        testdev.call_later(0, seen.set)
        assert seen.wait(LIMIT)
    assert read(testdev, 0x18) == 4


def command(
    testdev: Model, vectors: list[EventFd], command: int, iova: int, length: int, offset: int = 0
) -> tuple[int, int]:
    """Have a DMA command done and wait for vector 5; its status and checksum."""
    write(testdev, 0x20, iova, 8)
    write(testdev, 0x28, length)
    write(testdev, 0x38, offset)
    write(testdev, 0x2C, command | 0x100 | 5 << 16)
    assert vectors[5].wait(LIMIT)
    assert vectors[5].read() == 1
    return read(testdev, 0x30), read(testdev, 0x34)


def words_sum(data: bytes) -> int:
    total: int = sum(word for (word,) in struct.iter_unpack("<I", data))
    return total & 0xFFFFFFFF


def test_dma_address_is_two_halves(testdev: Model) -> None:
    write(testdev, 0x20, 0x55667788)
    write(testdev, 0x24, 0x11223344)
    assert read(testdev, 0x20, 8) == 0x1122334455667788


def test_dma_checksum(testdev: Model, vectors: list[EventFd], memory: Memory) -> None:
    assert read(testdev, 0x30) == IDLE
    pages = memory(testdev, 0x40000000, 0x100000)
    pages[:] = random.Random(1).randbytes(len(pages))
    for start, length in ((0, 4), (0x1234, 0x1000), (0, 0x100000), (0, 0)):
        expected = (DONE, words_sum(pages[start : start + length]))
        assert command(testdev, vectors, CHECKSUM, 0x40000000 + start, length) == expected


def test_dma_fill(testdev: Model, vectors: list[EventFd], memory: Memory) -> None:
    pages = memory(testdev, 0x1000, 0x2000)
    write(testdev, 0x3C, 0xFFFFFFFE)
    status, checksum = command(testdev, vectors, FILL, 0x1010, 16)
    expected = struct.pack("<4I", 0xFFFFFFFE, 0xFFFFFFFF, 0, 1)
    assert pages[:0x30] == bytes(16) + expected + bytes(16)
    assert (status, checksum) == (DONE, words_sum(expected))


def test_dma_to_the_buffer_and_back(testdev: Model, vectors: list[EventFd], memory: Memory) -> None:
    pages = memory(testdev, 0, 0x200000)
    pages[:0x100000] = random.Random(2).randbytes(0x100000)
    checksum = words_sum(pages[:0x100000])
    size, high = 0x100000, 0x100000
    assert command(testdev, vectors, TO_DEVICE, 0, size, high) == (DONE, checksum)
    assert testdev.region_read(2, high, size) == pages[:size]
    assert command(testdev, vectors, TO_MEMORY, high, size, high) == (DONE, checksum)
    assert pages[high:] == pages[:size]


@pytest.mark.parametrize(
    ("code", "iova", "length", "offset"),
    [
        (CHECKSUM, 0x10000, 4, 0),
        (CHECKSUM, 0xFFC, 8, 0),
        (FILL, 0xFFC, 8, 0),
        (FILL, 0, 6, 0),
        (CHECKSUM, 0, 0x100004, 0),
        (TO_DEVICE, 0, 8, 0x1FFFFC),
        (TO_MEMORY, 0, 4, 0xFFFFFFFF),
        (0, 0, 4, 0),
        (5, 0, 4, 0),
        (0xFF, 0, 4, 0),
        (CHECKSUM, (1 << 64) - 4, 4, 0),
    ],
)
def test_dma_that_can_not_be_done_is_an_error(
    testdev: Model,
    vectors: list[EventFd],
    memory: Memory,
    code: int,
    iova: int,
    length: int,
    offset: int,
) -> None:
    pages = memory(testdev, 0, 0x1000)
    assert command(testdev, vectors, code, iova, length, offset) == (ERROR, 0)
    assert not any(pages[:])


def test_dma_without_bus_mastering_is_an_error(testdev: Model, memory: Memory) -> None:
    memory(testdev, 0, 0x1000)
    testdev.region_write(CONFIG, PCI_COMMAND, bytes(2))
    write(testdev, 0x28, 4)
    write(testdev, 0x2C, CHECKSUM)
    done = threading.Event()
    testdev.start(lambda: None, lambda _: done.set())  # after the command
    assert done.wait(LIMIT)
    assert read(testdev, 0x30) == ERROR


def test_reset(testdev: Model, vectors: list[EventFd], memory: Memory) -> None:
    memory(testdev, 0, 0x1000)
    command(testdev, vectors, FILL, 0, 16)
    for offset in (0x08, 0x14, 0x20, 0x24, 0x28, 0x38, 0x3C):
        write(testdev, offset, 1)
    write(testdev, 0x1000, 1)
    write(testdev, 0x4000, 0x1234)
    testdev.reset()
    for offset in (0x08, 0x14, 0x18, 0x20, 0x24, 0x28, 0x30, 0x34, 0x38, 0x3C):
        assert read(testdev, offset) == 0
    assert read(testdev, 0x4000) == 0x1234
    assert not testdev.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT
