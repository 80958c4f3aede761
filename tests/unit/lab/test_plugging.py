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
        self.backends: set[str] = set()

    def execute(
        self, command: str, arguments: dict[str, Any] | None = None, fds: tuple[int, ...] = ()
    ) -> Any:
        arguments = arguments or {}
        name = arguments.get("node-name") or arguments.get("id") or ""
        if command == "device_add":
            raise QmpError(f"QEMU: {command}: {self._why}")
        if command in ("blockdev-add", "netdev_add"):
            self.backends.add(name)
        elif command in ("blockdev-del", "netdev_del"):
            self.backends.remove(name)
        models = [{"name": "virtio-scsi-pci"}, {"name": "nvme"}]
        answers: dict[str, Any] = {
            "qom-list-types": models,
            "device-list-properties": [{"name": "dma_mask", "type": "uint64"}],
            "add-fd": {"fdset-id": 1},
        }
        return answers.get(command)


def refusal(device: str, why: str) -> LabError:
    qmp = RefusingQmp(why)
    slots = Slots(cast("Any", qmp), cast("Any", None), 0)
    with pytest.raises(LabError) as caught:
        slots.insert(*parse(device))
    assert not qmp.backends
    assert not slots.plugged
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


@pytest.mark.parametrize("kind", ["edu", "nvme", "e1000e"])
def test_other_refusals_are_qemus(kind: str) -> None:
    """Its disk or network goes, too."""
    error = refusal(f"{kind}:dma_mask=no", "Parameter 'dma_mask' expects uint64")
    assert error.cause == "QEMU: device_add: Parameter 'dma_mask' expects uint64"


def test_the_cure_for_a_property_that_there_is_not() -> None:
    error = refusal("pci-testdev:foo=1", "Property 'pci-testdev.foo' not found")
    assert error.cause == "QEMU: device_add: Property 'pci-testdev.foo' not found"
    assert error.cure == "`qemu-system-x86_64 -device pci-testdev,help` lists those that there are"


PROPERTIES = {
    "disable-legacy": "OnOffAuto",
    "iommu_platform": "bool",
    "serial": "str",
    "n": "uint8",
}


class NotingQmp:
    """QEMU's monitor, which does as it is told, and notes what; and knows a few properties."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def execute(self, command: str, arguments: dict[str, Any] | None = None, **_: Any) -> Any:
        self.told.append((command, arguments or {}))
        if command == "device-list-properties":
            return [{"name": name, "type": kind} for name, kind in PROPERTIES.items()]
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


def test_properties_are_what_qemu_has_them_be() -> None:
    qmp = NotingQmp()
    slots = Slots(cast("Any", qmp), cast("Any", None), 0)
    slots.insert(*parse("virtio-rng:serial=0x10:n=0x10:other=off"))
    (added,) = (arguments for command, arguments in qmp.told if command == "device_add")
    assert (
        added.items()
        >= {
            "disable-legacy": "on",
            "iommu_platform": True,
            "serial": "0x10",
            "n": 16,
            "other": False,
        }.items()
    )


def test_a_sata_disk_comes_behind_a_controller_that_is_there() -> None:
    qmp = NotingQmp()
    slots = Slots(cast("Any", qmp), cast("Any", None), 0, sata=True)
    assert slots.insert(*parse("ahci")).slot == 0
    assert slots.insert(*parse("edu")).slot == 1
    ((reopened,),) = (told["options"] for command, told in qmp.told if command == "blockdev-reopen")
    assert reopened == {"driver": "raw", "node-name": "sata-disk", "file": "sata-data-disk"}
    with pytest.raises(LabError, match="a lab has one"):
        slots.insert(*parse("ahci"))
