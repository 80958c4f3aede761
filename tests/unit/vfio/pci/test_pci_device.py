# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PciDevice: on from the beginning to close(), which leaves the device as it was."""

from __future__ import annotations

import errno

import pytest

from pyvmm.models import testdev
from pyvmm.uapi.pci_regs import PCI_COMMAND_MASTER
from pyvmm.vfio import DeviceError, DeviceGone, PciDevice

DMA_ADDRESS, DMA_LENGTH, DMA_COMMAND, DMA_SEED = 0x20, 0x28, 0x2C, 0x3C
FILL_AND_SIGNAL_1 = 2 | 0x100 | 1 << 16


class Kept(testdev.TestDevice):
    """A model that outlives close(), to be looked at."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def kept() -> testdev.TestDevice:
    return Kept("testdev")


def test_it_is_on_while_it_is_open() -> None:
    model = Kept("testdev")
    with PciDevice(model) as dev:
        assert dev.config.bus_master
        assert dev.config.memory_enable
        assert dev.config.io_enable
        dev.msix.enable(2)
        assert model.irq_mode == dev.msix.index
    assert model.config.u16(4) == 0
    assert model.irq_mode != dev.msix.index
    assert model.closed == 1
    dev.close()
    assert model.closed == 1
    testdev.TestDevice.close(model)


def test_bus_mastering_can_stay_off(model: testdev.TestDevice) -> None:
    with PciDevice(model, bus_master=False) as dev:
        assert dev.config.memory_enable
        assert not dev.config.bus_master


def test_a_device_that_cannot_be_read_is_closed() -> None:
    class Broken(Kept):
        def region_read(self, index: int, offset: int, size: int) -> bytes:
            raise DeviceError.answered("reading", errno.EIO)

    model = Broken("testdev")
    with pytest.raises(DeviceError):
        PciDevice(model)
    assert model.closed == 1
    testdev.TestDevice.close(model)


def test_one_that_has_gone_is_closed_without_a_word() -> None:
    class Gone(Kept):
        gone = False

        def region_write(self, index: int, offset: int, data: bytes) -> None:
            if self.gone:
                raise DeviceGone("gone")
            super().region_write(index, offset, data)

    model = Gone("testdev")
    with PciDevice(model) as dev:
        dev.msix.enable(1)
        model.gone = True
    assert model.closed == 1
    testdev.TestDevice.close(model)


def test_reset_turns_it_on_again(dev: PciDevice, model: testdev.TestDevice) -> None:
    model.config.set_u16(4, 0)
    dev.reset()
    assert dev.config.bus_master


def test_dma_and_its_interrupt(dev: PciDevice) -> None:
    """The sample of the documentation."""
    bar = dev.bars[0].map()
    with dev.dma.alloc(4096) as buf:
        irqs = dev.msix.enable(2)
        bar.u64[DMA_ADDRESS] = buf.iova
        bar.u32[DMA_LENGTH] = 16
        bar.u32[DMA_SEED] = 0x11110000
        bar.u32[DMA_COMMAND] = FILL_AND_SIGNAL_1
        assert irqs[1].wait(timeout=30) == 1
        assert buf.view[:16].cast("I").tolist() == [0x11110000 + i for i in range(4)]


def test_a_forked_process_leaves_the_device_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Kept("testdev")
    dev = PciDevice(model)
    (irq,) = dev.msix.enable(1)
    bar = dev.bars[2].map()
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        dev.close()
    assert model.closed == 1
    with pytest.raises(DeviceGone):
        bar.u32[0]
    assert model.config.u16(4) & PCI_COMMAND_MASTER
    assert model.irq_mode == dev.msix.index
    assert irq.take() == 0, "the counter is the parent's, too"
    dev.msix.disable()
    testdev.TestDevice.close(model)
