# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PluggedDevice: the order in which a device is taken back, and what its loss does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyvmm.machine.dma import DmaSpaces
from pyvmm.machine.plugged_device import PluggedDevice
from pyvmm.memory import AddressMap, GuestMemory
from pyvmm.models.edu import Edu
from pyvmm.pci.bus import Bus
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from pyvmm.vfio import DeviceGone, VfioError
from tests.unit.pci.fake_vm import FakeVm

MIB = 1 << 20


class Recorded(Edu):
    """Writes down in what order it is let go."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log
        map, unmap = self.dma.map, self.dma.unmap

        def mapped(iova: int, size: int, **what: Any) -> None:
            log.append(f"map, bus master {bool(self.bus_master)}")
            map(iova, size, **what)

        def unmapped(iova: int, size: int) -> None:
            log.append(f"unmap, bus master {bool(self.bus_master)}")
            unmap(iova, size)

        self.dma.map = mapped  # type: ignore[method-assign]
        self.dma.unmap = unmapped  # type: ignore[method-assign]

    def close(self) -> None:
        self.log.append("close")
        super().close()


class FakeVfio:
    """Which files KVM knows."""

    def __init__(self) -> None:
        self.files: list[int] = []

    def add(self, fd: int, _name: str) -> None:
        self.files.append(fd)

    def remove(self, fd: int, _name: str) -> None:
        self.files.remove(fd)


class VmWithVfio(FakeVm):
    def __init__(self) -> None:
        super().__init__()
        self.vfio = FakeVfio()


class Host:
    """A machine's parts, and a device that can be lost at will."""

    def __init__(self) -> None:
        self.memory = GuestMemory(MIB)
        self.vm = VmWithVfio()
        self.log: list[str] = []
        self.losses: list[VfioError] = []
        self.lose: Callable[[VfioError], None] = lambda _: None

    def plug(self, kvm_file: int = -1) -> PluggedDevice:
        def open(lost: Callable[[VfioError], None]) -> Recorded:
            self.lose = lost
            device = Recorded(self.log)
            device.kvm_file = kvm_file
            return device

        plugged = PluggedDevice(
            open,
            self.losses.append,
            vm=self.vm,  # type: ignore[arg-type]
            memory=self.memory,
            spaces=DmaSpaces(self.memory, self.log.append),
            ports=AddressMap("ports"),
            mmio=AddressMap("MMIO"),
            notice=self.log.append,
            settle=lambda: self.log.append("settle"),
        )
        Bus().add(plugged.function, device=1)
        return plugged


def test_no_dma_then_no_mappings_then_no_device(no_leaks: None) -> None:
    host = Host()
    with host.plug() as plugged:
        assert host.log == ["map, bus master False"], "before it can do DMA"
        plugged.function.config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER)
    assert host.log[1:] == ["unmap, bus master False", "close"]
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


class FakeNotices:
    """The kernel's, given by hand."""

    def __init__(
        self, _device: object, *, request: Callable[[], None], error: Callable[[], None]
    ) -> None:
        self.given = {"request": request, "error": error}
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        ("request", "the host takes edu back"),
        ("error", "edu has had an uncorrectable error"),
    ],
)
def test_one_that_the_host_takes_back_is_closed(
    notice: str, told: str, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever unbinds it waits for that; and asks again, for that matter."""
    monkeypatch.setattr("pyvmm.vfio.kernel.Notices", FakeNotices)
    host = Host()
    with host.plug(kvm_file=3) as plugged:
        plugged.function.config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER)
        notices = plugged._notices
        assert isinstance(notices, FakeNotices)
        for _ in range(2):
            notices.given[notice]()
        assert host.log[1:] == ["settle", "unmap, bus master False", "close"]
        assert [str(loss) for loss in host.losses] == [told]
        assert plugged.function.config_read(0, 4) == 0xFFFFFFFF
        assert not host.vm.vfio.files
    assert notices.closed
    host.memory.close()


def test_what_is_lost_already_can_be_taken_back(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyvmm.vfio.kernel.Notices", FakeNotices)
    host = Host()
    with host.plug(kvm_file=3) as plugged:
        plugged.function.lost(DeviceGone("edu: reading: ENODEV"))
        notices = plugged._notices
        assert isinstance(notices, FakeNotices)
        notices.given["request"]()
        assert host.log[-1] == "close"
    host.memory.close()
