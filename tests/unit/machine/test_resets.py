# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset_devices(): all are taken from the guest, reset, and given back; the lost are told."""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Any, cast

import pytest

from pyvmm.machine.plugged_device import PluggedDevice
from pyvmm.machine.resets import reset_devices
from pyvmm.pci.errors import BadDevice
from pyvmm.uapi.vfio import VFIO_DEVICE_FLAGS_RESET
from pyvmm.vfio import Device, DeviceError, DeviceGone, DeviceInfo, VfioError


class Plugged:
    """A device and its function in one, which write down what is done with them."""

    def __init__(
        self, name: str, log: list[str], *, of_host: bool = False, resettable: bool = True
    ) -> None:
        self.name = name
        self.log = log
        self.kvm_file = 3 if of_host else -1
        self.info = DeviceInfo(VFIO_DEVICE_FLAGS_RESET if resettable else 0, 9, 5)
        self.cannot_be_reset = False
        self.gone: VfioError | None = None
        self.refuse: dict[str, Exception] = {}
        self.device = self.function = self.guard = cast(Any, self)

    def _do(self, what: str) -> None:
        self.log.append(f"{what} {self.name}")
        if what in self.refuse:
            raise self.refuse[what]

    def prepare_reset(self) -> None:
        self._do("prepare")

    def reset(self) -> None:
        self._do("reset")

    def finish_reset(self) -> None:
        self._do("finish")

    def lost(self, error: VfioError) -> None:
        self.gone = error


class Machine:
    """Its devices, and what it is told."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.notices: list[str] = []
        self.devices: list[Plugged] = []
        self.failures: dict[str, VfioError] = {}  # of the host's, by name

    def add(self, name: str, **what: bool) -> Plugged:
        self.devices.append(Plugged(name, self.log, **what))
        return self.devices[-1]

    def reset(self) -> dict[str, str]:
        """The lost, and why."""
        devices = [cast(PluggedDevice, device) for device in self.devices]
        lost = reset_devices(devices, self.notices.append)
        return {cast(Any, device).name: str(error) for device, error in lost}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()

    def reset_all(devices: Collection[Any]) -> dict[Device, VfioError]:
        machine.log.append(f"host {' '.join(device.name for device in devices)}")
        return {d: machine.failures[d.name] for d in devices if d.name in machine.failures}

    monkeypatch.setattr("pyvmm.vfio.kernel.reset_all", reset_all)
    monkeypatch.setattr("pyvmm.vfio.kernel.KernelDevice", Plugged)
    return machine


def test_all_at_once(machine: Machine) -> None:
    machine.add("a", of_host=True)
    machine.add("model")
    machine.add("b", of_host=True)
    machine.add("simple", resettable=False)
    assert machine.reset() == {}
    assert machine.log == [
        *("prepare a", "prepare model", "prepare b", "prepare simple"),
        *("reset model", "host a b"),
        *("finish a", "finish model", "finish b", "finish simple"),
    ]
    assert machine.notices == []


def test_one_that_can_not_be_reset_is_told_once(machine: Machine) -> None:
    machine.add("a", of_host=True)
    machine.failures["a"] = VfioError("a can't be reset: it knows no way")
    model = machine.add("model")
    model.refuse["reset"] = DeviceError.answered("model: reset", errno.EIO)
    for _ in range(2):
        assert machine.reset() == {}
        assert machine.log[-2:] == ["finish a", "finish model"], "the guest has them all the same"
    assert machine.notices == [
        "a can't be reset: it knows no way; the guest finds it as it was left",
        "model: reset: EIO (Input/output error); the guest finds it as it was left",
    ]


def test_one_that_does_not_answer_any_more(machine: Machine) -> None:
    dead = machine.add("dead", of_host=True)
    dead.refuse["finish"] = BadDevice("dead does not answer")
    machine.add("b", of_host=True)
    assert machine.reset() == {"dead": "dead does not answer"}
    assert machine.log[-1] == "finish b"


@pytest.mark.parametrize("of_host", [False, True])
def test_one_that_is_gone(machine: Machine, of_host: bool) -> None:
    gone = machine.add("gone", of_host=of_host)
    gone.refuse["reset"] = machine.failures["gone"] = DeviceGone("it was unplugged")
    machine.add("b", of_host=True)
    assert machine.reset() == {"gone": "it was unplugged"}
    assert gone.gone is not None
    assert machine.log[-1] == "finish b"
    assert "finish gone" not in machine.log
    machine.log.clear()
    assert machine.reset() == {}, "what is lost already is left alone"
    assert machine.log == ["prepare b", "host b", "finish b"]


def test_one_that_goes_before(machine: Machine) -> None:
    machine.add("gone").refuse["prepare"] = DeviceGone("it hung up")
    machine.add("b")
    assert machine.reset() == {"gone": "it hung up"}
    assert machine.log == ["prepare gone", "prepare b", "reset b", "finish b"]
