# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets of a guest's devices: alone, with their bus, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyvmm.machine.resets import reset_devices
from pyvmm.vfio import Device
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice
from tests.lab.conftest import MakeVm
from tests.lab.registers import read32

GetDevice = Callable[[str], str]

pytestmark = pytest.mark.proof

WITH_GUESTS = pytest.mark.backends("type1v2", "iommufd")

NVME_CC, NVME_CSTS, READY = 0x14, 0x1C, 1


@pytest.fixture
def resets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was reset: "ADDRESS" alone, "bus of ADDRESS"."""
    done: list[str] = []
    alone, with_bus = KernelDevice.reset, KernelDevice.hot_reset

    def reset(self: KernelDevice) -> None:
        alone(self)
        done.append(self.name)

    def hot_reset(self: KernelDevice, *arguments: object) -> None:
        with_bus(self, *arguments)  # type: ignore[arg-type]
        done.append(f"bus of {self.name}")

    monkeypatch.setattr(KernelDevice, "reset", reset)
    monkeypatch.setattr(KernelDevice, "hot_reset", hot_reset)
    return done


def is_ready(nvme: Device) -> bool:
    assert isinstance(nvme, KernelDevice)
    return bool(read32(nvme, NVME_CSTS) & READY)


@WITH_GUESTS
def test_a_function_that_can_be_reset_alone(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, resets: list[str]
) -> None:
    bdf = lab_device("nvme")
    vm = make_vm("nvme", bdf, cmdline="leave-on")
    vm.run()
    assert resets == [bdf], "before it boots"
    (plugged,) = vm.machine.devices
    assert is_ready(plugged.device)
    # And when it boots again.
    plugged.function.config_write(4, 2, 2)
    assert reset_devices(vm.machine.devices, vm.notices.append) == []
    assert resets == [bdf, bdf]
    plugged.function.config_write(4, 2, 2)
    assert not is_ready(plugged.device)
    assert read32(plugged.device, NVME_CC) == 0
    assert vm.notices == []


@WITH_GUESTS
def test_a_bus_that_is_all_the_guests(
    backend: str, make_vm: MakeVm, neighbours: dict[str, str], resets: list[str]
) -> None:
    """edu can't be reset otherwise; NVMe could, and it is done once for both."""
    vm = make_vm("nvme", neighbours["nvme"], neighbours["edu"], cmdline="leave-on")
    vm.run()
    assert resets == [f"bus of {neighbours['edu']}"]
    nvme = vm.machine.devices[0]
    assert is_ready(nvme.device)
    assert reset_devices(vm.machine.devices, vm.notices.append) == []
    assert resets == [f"bus of {neighbours['edu']}"] * 2
    nvme.function.config_write(4, 2, 2)
    assert not is_ready(nvme.device)
    assert vm.notices == []


@pytest.fixture
def nobodys(neighbours: dict[str, str]) -> Iterator[str]:
    """The NVMe controller beside edu, with no driver at all."""
    function = HostFunction(neighbours["nvme"])
    write(f"{function.path}/driver/unbind", function.bdf)
    yield function.bdf
    write("/sys/bus/pci/drivers_probe", function.bdf)
    assert function.driver == "vfio-pci"


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


@WITH_GUESTS
def test_one_that_can_not_be_reset(
    backend: str, make_vm: MakeVm, neighbours: dict[str, str], nobodys: str, resets: list[str]
) -> None:
    """The guest has it all the same, and people are told: the first time."""
    edu = neighbours["edu"]
    vm = make_vm("edu", edu)
    vm.run()
    assert reset_devices(vm.machine.devices, vm.notices.append) == []
    assert resets == []
    (notice,) = vm.notices
    assert notice.startswith(f"{edu} can't be reset: hot reset, which resets {nobodys} too: EPERM")
    assert notice.endswith("; the guest finds it as it was left")


@WITH_GUESTS
def test_one_whose_reset_leaves_it_dead(
    backend: str, make_vm: MakeVm, lab_device: GetDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hardware does that hangs: it is told, and lost to the guest."""
    vm = make_vm("nvme", lab_device("nvme"), cmdline="leave-on")
    vm.run()
    really = KernelDevice.region_read

    def read(self: KernelDevice, index: int, offset: int, size: int) -> bytes:
        data = really(self, index, offset, size)
        if index != 7:
            return data
        # The ids the kernel has remembered.
        return data[: max(0, 4 - offset)].ljust(size, b"\xff")

    monkeypatch.setattr(KernelDevice, "region_read", read)
    ((plugged, error),) = reset_devices(vm.machine.devices, vm.notices.append)
    monkeypatch.undo()
    assert plugged is vm.machine.devices[0]
    assert f"{lab_device('nvme')} does not answer after its reset" in str(error)
