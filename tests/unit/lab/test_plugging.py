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
        return {"qom-list-types": models, "add-fd": {"fdset-id": 1}}.get(command)


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


class TakingQmp:
    """QEMU's monitor, which takes every device."""

    def __init__(self) -> None:
        self.added: list[dict[str, Any]] = []

    def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "device_add":
            self.added.append(arguments)
        return {}


def test_properties_have_the_types_that_qemu_wants() -> None:
    """Newer ones take no boolean for what is on, off or auto."""
    qmp = TakingQmp()
    slots = Slots(cast("Any", qmp), cast("Any", None), 0)
    slots.insert(*parse("virtio-rng-pci:disable-legacy=on:iommu_platform=on:max-bytes=0x400"))
    (device,) = qmp.added
    assert device["disable-legacy"] == "on"
    assert device["iommu_platform"] is True
    assert device["max-bytes"] == 0x400
