# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is said of a device that can't be plugged in, QEMU's refusals included."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pyvmm.lab.devices import parse
from pyvmm.lab.errors import LabError, QmpError
from pyvmm.lab.plugging import Slots


class RefusingQmp:
    """QEMU's monitor, which refuses every device, and knows two."""

    def __init__(self, why: str) -> None:
        self._why = why

    def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "qom-list-types":
            return [{"name": "virtio-scsi-pci"}, {"name": "nvme"}]
        raise QmpError(f"QEMU: {command}: {self._why}")


def refusal(device: str, why: str) -> LabError:
    slots = Slots(cast("Any", RefusingQmp(why)), cast("Any", None), 0)
    with pytest.raises(LabError) as caught:
        slots.insert(*parse(device))
    return caught.value


@pytest.mark.parametrize(
    ("device", "cure"),
    [
        ("nvmee", "did you mean 'nvme'?"),
        ("virtio-scsi-pcie", "did you mean 'virtio-scsi-pci'?"),
        ("xyzzy", ""),
    ],
)
def test_a_device_that_nobody_knows(device: str, cure: str) -> None:
    error = refusal(device, f"'{device}' is not a valid device model name")
    assert error.cause.startswith(f"there is no device '{device}': the lab knows nvme, e1000e, ")
    assert error.cure == cure


def test_other_refusals_are_qemus() -> None:
    error = refusal("edu:dma_mask=no", "Parameter 'dma_mask' expects uint64")
    assert error.cause == "QEMU: device_add: Parameter 'dma_mask' expects uint64"


class NotingQmp:
    """QEMU's monitor, which does as it is told, and notes what."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def execute(self, command: str, arguments: dict[str, Any] | None = None, **_: Any) -> Any:
        self.told.append((command, arguments or {}))
        return {"fdset-id": 7}


def test_a_usb_disk_is_at_its_controllers_bus() -> None:
    qmp = NotingQmp()
    plugged = Slots(cast("Any", qmp), cast("Any", None), 0).insert(*parse("xhci:size=32M:p2=8"))
    (name,) = plugged.ids
    added = [arguments for command, arguments in qmp.told if command == "device_add"]
    assert added == [
        {"driver": "qemu-xhci", "id": name, "bus": "slot0", "p2": 8},
        {"driver": "usb-storage", "bus": f"{name}.0", "drive": f"{name}-disk"},
    ]
