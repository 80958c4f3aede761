# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PluggedDevice: the order in which a device is taken back, and what its loss does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.machine.plugged_device import PluggedDevice
from pyvmm.memory import AddressMap, GuestMemory
from pyvmm.models.edu import Edu
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from pyvmm.vfio import DeviceGone, VfioError
from tests.unit.pci.fake_vm import FakeVm

MIB = 1 << 20


class Recorded(Edu):
    """Writes down in what order it is let go."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log
        unmap = self.dma.unmap

        def unmapped(iova: int, size: int) -> None:
            log.append(f"unmap, bus master {bool(self.bus_master)}")
            unmap(iova, size)

        self.dma.unmap = unmapped  # type: ignore[method-assign]

    def close(self) -> None:
        self.log.append("close")
        super().close()


class Host:
    """A machine's parts, and a device that can be lost at will."""

    def __init__(self) -> None:
        self.memory = GuestMemory(MIB)
        self.log: list[str] = []
        self.losses: list[VfioError] = []
        self.lose: Callable[[VfioError], None] = lambda _: None

    def plug(self) -> PluggedDevice:
        def open(lost: Callable[[VfioError], None]) -> Recorded:
            self.lose = lost
            return Recorded(self.log)

        return PluggedDevice(
            open,
            self.losses.append,
            vm=FakeVm(),  # type: ignore[arg-type]
            memory=self.memory,
            ports=AddressMap("ports"),
            mmio=AddressMap("MMIO"),
            notice=self.log.append,
        )


def test_no_dma_then_no_mappings_then_no_device(no_leaks: None) -> None:
    host = Host()
    with host.plug() as plugged:
        plugged.function.config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER)
    assert host.log == ["unmap, bus master False", "close"]
    plugged.close()
    host.memory.close()


def test_one_can_go_and_the_other_stays(no_leaks: None) -> None:
    host = Host()
    with host.plug() as stays:
        host.plug().close()
        assert stays.function.config_read(0, 2) == 0x1234
    host.memory.close()


def test_a_lost_one_leaves_an_empty_slot(no_leaks: None) -> None:
    host = Host()
    with host.plug() as plugged:
        error = DeviceGone("edu hung up")
        host.lose(error)
        assert host.losses == [error]
        assert plugged.function.config_read(0, 4) == 0xFFFFFFFF
    host.memory.close()


def test_a_loss_before_there_is_a_function_is_told_too(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    error = DeviceGone("edu hung up")

    def dies(*_: object, **__: object) -> None:
        host.lose(error)
        raise error

    monkeypatch.setattr("pyvmm.machine.plugged_device.Assigned", dies)
    with pytest.raises(DeviceGone):
        host.plug()
    assert host.losses == [error]
    assert host.log[-1] == "close"
    host.memory.close()
