# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which IOMMU a lab's machine is to have: what people write, parsed and checked.

intel                   Intel's, with interrupt remapping
intel:intremap=off      without
intel:aw-bits=48        with properties of QEMU's device model
none                    no IOMMU at all
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .defaults import IOMMUS
from .devices import parse_one
from .errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Model(NamedTuple):
    """QEMU's device, what it is to be like if nothing else is said, and Linux's switch."""

    name: str
    properties: Mapping[str, str]
    parameter: str
    knows_its_devices: bool = False


_MODELS = {
    "intel": _Model("intel-iommu", {"intremap": "on", "caching-mode": "on"}, "intel_iommu=on"),
    # Without dma-remap there is interrupt remapping alone.
    "amd": _Model("amd-iommu", {"intremap": "on", "dma-remap": "on"}, "amd_iommu=on", True),
}


class Iommu(NamedTuple):
    """An IOMMU, or none."""

    kind: str
    """One of IOMMUS."""
    device: str | None
    """QEMU's -device, if there is one."""
    kernel_parameter: str
    knows_its_devices: bool
    """The firmware's tables list the devices that it is for: those have to be there at boot."""


def parse_iommu(text: str) -> Iommu:
    """The IOMMU that text asks for. Raises LabError for what isn't understood."""
    spec = parse_one(text)
    if spec.kind not in IOMMUS:
        raise LabError(
            f"there is no IOMMU {spec.kind!r} for the lab", f"take one of {', '.join(IOMMUS)}"
        )
    model = _MODELS.get(spec.kind)
    if model is not None:
        properties = {**model.properties, **spec.properties}
        device = ",".join([model.name, *(f"{name}={value}" for name, value in properties.items())])
        return Iommu(spec.kind, device, model.parameter, model.knows_its_devices)
    if spec.properties:
        raise LabError(f"lab IOMMU {text!r}: none has no properties", "take intel or amd")
    return Iommu(spec.kind, None, "iommu=off", False)
