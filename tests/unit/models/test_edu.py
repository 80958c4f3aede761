# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""edu, register by register, as QEMU's docs/specs/edu.rst and hw/misc/edu.c have it."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm import models
from pyvmm.models import edu as edu_model
from pyvmm.models.edu import BUFFER_SIZE, BUFFER_START, Edu
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_STATUS, PCI_STATUS_INTERRUPT
from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
)
from pyvmm.vfio import Device, EventFd

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
LIMIT = 30  # seconds; nothing here takes as long

IDENTIFICATION, LIVENESS, FACTORIAL, STATUS = 0x00, 0x04, 0x08, 0x20
IRQ_STATUS, IRQ_RAISE, IRQ_ACKNOWLEDGE = 0x24, 0x60, 0x64
DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND = 0x80, 0x88, 0x90, 0x98

Memory = Callable[[Device, int, int], mmap.mmap]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its DMA takes 100 ms, to teach patience. Here none is needed."""
    monkeypatch.setattr(edu_model, "DMA_SECONDS", 0.001)


@pytest.fixture
def edu() -> Iterator[Edu]:
    with Edu() as edu:
        edu.region_write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER.to_bytes(2, "little"))
        yield edu


@pytest.fixture
def msi(edu: Edu) -> Iterator[EventFd]:
    """Its message, turned on."""
    with EventFd() as msi:
        edu.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [msi.fileno()])
        yield msi


def read(edu: Edu, offset: int, size: int = 4) -> int:
    return int.from_bytes(edu.region_read(0, offset, size), "little")


def write(edu: Edu, offset: int, value: int, size: int = 4) -> None:
    edu.region_write(0, offset, value.to_bytes(size, "little"))


def dma(edu: Edu, msi: EventFd, source: int, destination: int, count: int, command: int) -> None:
    """Have a transfer done, and wait for its interrupt."""
    write(edu, DMA_SOURCE, source, 8)
    write(edu, DMA_DESTINATION, destination, 8)
    write(edu, DMA_COUNT, count, 8)
    write(edu, DMA_COMMAND, command | 4, 8)
    assert msi.wait(LIMIT)
    assert msi.read() == 1
    assert read(edu, DMA_COMMAND) == command & ~1 | 4
    assert read(edu, IRQ_STATUS) == 0x100
    write(edu, IRQ_ACKNOWLEDGE, 0x100)


def test_configuration_space_is_qemu_s(edu: Edu) -> None:
    """The bytes as read from QEMU 7.2's."""
    edu.region_write(CONFIG, PCI_COMMAND, bytes(2))
    header = [0x11E81234, 0x00100000, 0x00FF0010, *[0] * 8, 0x11001AF4, 0, 0x40, 0, 0x100]
    msi = [0x00800005, 0, 0, 0]
    data = edu.region_read(CONFIG, 0, 0x50)
    assert [int.from_bytes(data[i : i + 4], "little") for i in range(0, 0x50, 4)] == header + msi
    assert edu.region_info(CONFIG).size == 256
    assert edu.region_info(0).size == 1 << 20
    for offset, written in ((0x10, 0xFFF00000), (0x44, 0xFFFFFFFC), (0x48, 0xFFFFFFFF)):
        edu.region_write(CONFIG, offset, b"\xff" * 4)
        assert edu.config.u32(offset) == written
    edu.region_write(CONFIG, 0x40, b"\xff" * 4)
    assert edu.config.u16(0x42) & 1


def test_identification(edu: Edu) -> None:
    write(edu, IDENTIFICATION, 0)
    assert read(edu, IDENTIFICATION) == 0x010000ED


@given(st.integers(0, 0xFFFFFFFF))
def test_liveness_is_the_inverse(value: int) -> None:
    with Edu() as edu:
        assert read(edu, LIVENESS) == 0
        write(edu, LIVENESS, value)
        assert read(edu, LIVENESS) == value ^ 0xFFFFFFFF


@pytest.mark.parametrize("number", [0, 1, 5, 12, 13, 20, 33, 34, 0xFFFFFFFF])
def test_factorial(edu: Edu, msi: EventFd, number: int) -> None:
    write(edu, STATUS, 0x80)
    write(edu, FACTORIAL, number)
    assert msi.wait(LIMIT)
    assert read(edu, STATUS) == 0x80
    assert read(edu, IRQ_STATUS) == 0x01
    product = 1
    for factor in range(2, min(number, 40) + 1):
        product = product * factor & 0xFFFFFFFF
    assert read(edu, FACTORIAL) == product


def test_a_factorial_is_not_disturbed_by_another(edu: Edu, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventFd() as go_on:

        def slow(number: int) -> int:
            assert go_on.wait(LIMIT)
            return math.factorial(number)

        monkeypatch.setattr(edu_model, "factorial", slow)
        write(edu, FACTORIAL, 6)
        assert read(edu, STATUS) == 0x01
        write(edu, FACTORIAL, 3)
        write(edu, STATUS, 0xFFFFFFFF)
        assert read(edu, STATUS) == 0x81
        assert read(edu, FACTORIAL) == 6
        with EventFd() as msi:
            edu.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [msi.fileno()])
            go_on.signal()
            assert msi.wait(LIMIT)
    assert (read(edu, FACTORIAL), read(edu, STATUS)) == (720, 0x80)


def test_status_has_one_writable_bit(edu: Edu) -> None:
    write(edu, STATUS, 0xFFFFFFFF)
    assert read(edu, STATUS) == 0x80
    write(edu, STATUS, 0)
    assert read(edu, STATUS) == 0


def test_interrupts_are_raised_and_acknowledged_by_msi(edu: Edu, msi: EventFd) -> None:
    write(edu, IRQ_RAISE, 0xF0F)
    assert (read(edu, IRQ_STATUS), msi.read()) == (0xF0F, 1)
    write(edu, IRQ_RAISE, 0x10)
    assert (read(edu, IRQ_STATUS), msi.read()) == (0xF1F, 1)
    write(edu, IRQ_ACKNOWLEDGE, 0x0F)
    assert (read(edu, IRQ_STATUS), msi.read()) == (0xF10, 0)
    write(edu, IRQ_RAISE, 0)
    assert msi.read() == 1, "there still are reasons"
    write(edu, IRQ_ACKNOWLEDGE, 0xFFFFFFFF)
    write(edu, IRQ_RAISE, 0)
    assert (read(edu, IRQ_STATUS), msi.read()) == (0, 0)
    assert not edu.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT


def test_interrupts_are_raised_and_acknowledged_by_intx(edu: Edu) -> None:
    def line() -> bool:
        return bool(edu.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT)

    with EventFd() as intx:
        edu.set_triggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [intx.fileno()])
        write(edu, IRQ_RAISE, 3)
        assert (intx.read(), line()) == (1, True)
        write(edu, IRQ_ACKNOWLEDGE, 1)
        assert line()
        edu.set_irqs(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)
        assert intx.read() == 1, "a reason is left"
        write(edu, IRQ_ACKNOWLEDGE, 2)
        assert not line()
        edu.set_irqs(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)
        assert intx.read() == 0


def test_what_can_only_be_written_reads_as_nothing(edu: Edu) -> None:
    assert read(edu, IRQ_RAISE) == read(edu, IRQ_ACKNOWLEDGE) == 0xFFFFFFFF
    write(edu, IRQ_STATUS, 0xFF)
    assert read(edu, IRQ_STATUS) == 0


@pytest.mark.parametrize(
    ("offset", "value", "sizes"),
    [
        (IDENTIFICATION, 0x010000ED, (1, 2, 8)),
        (LIVENESS, 0, (1, 2)),
        (FACTORIAL, 0, (1, 2, 8)),
        (STATUS, 0, (1, 2, 8)),
        (IRQ_STATUS, 0, (1, 2)),
    ],
)
def test_below_0x80_accesses_have_four_bytes(
    edu: Edu, offset: int, value: int, sizes: tuple[int, ...]
) -> None:
    for size in sizes:
        ones = (1 << 8 * size) - 1
        write(edu, offset, ones, size)
        assert read(edu, offset, size) == ones
        assert read(edu, offset) == value


@pytest.mark.parametrize("offset", [DMA_SOURCE, DMA_DESTINATION, DMA_COUNT])
def test_dma_registers_take_four_bytes_or_eight(edu: Edu, offset: int) -> None:
    write(edu, offset, 0x1122334455667788, 8)
    assert read(edu, offset, 8) == 0x1122334455667788
    assert read(edu, offset) == 0x55667788
    assert read(edu, offset + 4) == 0xFFFFFFFF, "there is no upper half"
    write(edu, offset + 4, 0xDDDDDDDD)
    assert read(edu, offset, 8) == 0x1122334455667788
    write(edu, offset, 0x99AABBCC)
    assert read(edu, offset, 8) == 0x99AABBCC, "four bytes set the whole"
    write(edu, offset, 0, 1)
    write(edu, offset, 0, 2)
    assert read(edu, offset, 8) == 0x99AABBCC


def test_an_unaligned_access_of_eight_bytes_is_two_of_four(edu: Edu) -> None:
    write(edu, 0x7C, 0xAAAAAAAA_BBBBBBBB, 8)
    assert read(edu, DMA_SOURCE, 8) == 0xAAAAAAAA
    assert read(edu, 0x7C, 8) == 0xAAAAAAAA_FFFFFFFF


def test_dma_both_ways(edu: Edu, msi: EventFd, memory: Memory) -> None:
    pages = memory(edu, 0x100000, 0x4000)
    pages[0x800 : 0x800 + 100] = bytes(range(100))
    dma(edu, msi, 0x100800, BUFFER_START + 4, 100, 1)
    dma(edu, msi, BUFFER_START + 4, 0x102FFE, 100, 3)
    assert pages[0x2FFE : 0x2FFE + 100] == bytes(range(100))
    assert bytes(edu.buffer[4:104]) == bytes(range(100))


def test_the_whole_buffer(edu: Edu, msi: EventFd, memory: Memory) -> None:
    pages = memory(edu, 0, 0x2000)
    pages[:BUFFER_SIZE] = bytes(range(256)) * 16
    dma(edu, msi, 0, BUFFER_START, BUFFER_SIZE, 1)
    dma(edu, msi, BUFFER_START, 0x1000, BUFFER_SIZE, 3)
    assert pages[0x1000:] == pages[:0x1000]


def test_dma_has_28_address_bits(edu: Edu, msi: EventFd, memory: Memory) -> None:
    low = memory(edu, 0x1000, 0x1000)
    high = memory(edu, 0xF0001000, 0x1000)
    low[:3], high[:3] = b"low", b"top"
    dma(edu, msi, 0xF0001000, BUFFER_START, 3, 1)
    assert bytes(edu.buffer[:3]) == b"low"
    dma(edu, msi, BUFFER_START, 0xABCD_00001010, 3, 3)
    assert low[0x10:0x13] == b"low"


def test_the_dma_mask_is_an_option(memory: Memory) -> None:
    with models.create("edu", {"dma_mask": "0xffffffff"}) as edu, EventFd() as msi:
        assert isinstance(edu, Edu)
        edu.region_write(CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER.to_bytes(2, "little"))
        edu.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [msi.fileno()])
        memory(edu, 0xF0001000, 0x1000)[:3] = b"top"
        dma(edu, msi, 0xF0001000, BUFFER_START, 3, 1)
        assert bytes(edu.buffer[:3]) == b"top"


@pytest.mark.parametrize(
    ("inside", "count"),
    [
        (BUFFER_START, BUFFER_SIZE + 1),
        (BUFFER_START - 1, 2),
        (BUFFER_START + BUFFER_SIZE, 1),
        (BUFFER_START + BUFFER_SIZE - 1, 2),
        (0, 16),
        ((1 << 64) - 1, 2),
        (BUFFER_START, (1 << 64) - 1),
    ],
)
def test_dma_outside_of_the_buffer_moves_nothing(
    edu: Edu, msi: EventFd, memory: Memory, inside: int, count: int
) -> None:
    pages = memory(edu, 0, 0x100000)
    pages[:] = b"\xee" * len(pages)
    dma(edu, msi, 0, inside, count, 1)
    dma(edu, msi, inside, 0, count, 3)
    assert pages[:] == b"\xee" * len(pages)
    assert not any(edu.buffer)
    assert edu.counters["DMA outside of the buffer"] == 2


def test_dma_to_nowhere_ends_all_the_same(edu: Edu, msi: EventFd) -> None:
    edu.buffer[:4] = b"kept"
    dma(edu, msi, 0x5000, BUFFER_START, 4, 1)
    dma(edu, msi, BUFFER_START, 0x5000, 4, 3)
    assert bytes(edu.buffer[:4]) == b"kept"
    assert edu.counters["DMA failed: DmaFault"] == 2


def test_without_bus_mastering_dma_ends_and_moves_nothing(edu: Edu, memory: Memory) -> None:
    pages = memory(edu, 0, 0x1000)
    edu.buffer[:4] = b"data"
    edu.region_write(CONFIG, PCI_COMMAND, bytes(2))
    with EventFd() as intx:
        edu.set_triggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [intx.fileno()])
        dma(edu, intx, BUFFER_START, 0, 4, 3)
    assert pages[:4] == bytes(4)


def test_registers_rest_while_a_transfer_runs(edu: Edu, msi: EventFd, memory: Memory) -> None:
    pages = memory(edu, 0, 0x1000)
    pages[:4] = b"good"
    with edu.lock:  # so that the transfer can't end before the test has looked
        write(edu, DMA_SOURCE, 0, 8)
        write(edu, DMA_DESTINATION, BUFFER_START, 8)
        write(edu, DMA_COUNT, 4, 8)
        write(edu, DMA_COMMAND, 5, 8)
        assert read(edu, DMA_COMMAND) == 5
        for offset in (DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND):
            before = read(edu, offset, 8)
            write(edu, offset, 3, 8)
            assert read(edu, offset, 8) == before
    assert msi.wait(LIMIT)
    assert bytes(edu.buffer[:4]) == b"good"


def test_a_command_without_run_does_nothing(edu: Edu) -> None:
    write(edu, DMA_COMMAND, 6, 8)
    assert read(edu, DMA_COMMAND, 8) == 0


def test_reset(edu: Edu, msi: EventFd) -> None:
    write(edu, LIVENESS, 1)
    write(edu, IRQ_RAISE, 1)
    edu.buffer[:4] = b"data"
    write(edu, DMA_SOURCE, 1, 8)
    edu.reset()
    for offset in (LIVENESS, FACTORIAL, STATUS, IRQ_STATUS, DMA_SOURCE, DMA_COMMAND):
        assert read(edu, offset) == 0
    assert not any(edu.buffer)
    assert read(edu, IDENTIFICATION) == 0x010000ED
