# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What it takes for what a lab is to have: devices and IOMMUs came with later versions of QEMU, and
without an IOMMU not every kernel's VFIO takes devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .devices import each
from .errors import LabError
from .iommu import parse_iommu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .devices import Item

OLDEST = (7, 2)
"""The first QEMU that does for a lab at all."""
_IOMMUS = {"amd": (10, 2)}
"""AMD's is there in older ones, but leaves DMA and interrupts as they are."""


def oldest_qemu(items: Iterable[Item], iommu: str) -> tuple[int, int]:
    """The version of the first QEMU that has the devices and the IOMMU."""
    return max([OLDEST, *(since for _, since in _needs(items, iommu))])


def check_qemu(items: Iterable[Item], iommu: str, version: tuple[int, ...]) -> None:
    """Raises LabError if a QEMU of this version, which somebody asked for, is too old."""
    for what, since in _needs(items, iommu):
        if version < since:
            needed, found = (".".join(map(str, number)) for number in (since, version))
            raise LabError(
                f"{what}: QEMU has it since {needed}, and this is {found}",
                "take --qemu newest, or leave the choice to the lab: no --qemu, no PYVMM_QEMU",
            )


def check_kernel(items: Iterable[Item], iommu: str, features: frozenset[str]) -> None:
    """Raises LabError if a kernel with these features would give vfio-pci none of the devices."""
    if iommu == "none" and "noiommu" not in features and any(True for _ in items):
        raise LabError(
            "without an IOMMU this kernel's vfio-pci takes no device: it has no no-IOMMU mode (of "
            "Debian's kernels, those from 6.12 on have it here, if there is gcc to build it)",
            "take --iommu intel, or --kernel 6.12",
        )


def _needs(items: Iterable[Item], iommu: str) -> Iterator[tuple[str, tuple[int, int]]]:
    kind = parse_iommu(iommu).kind
    if kind in _IOMMUS:
        yield f"the lab's IOMMU {kind}", _IOMMUS[kind]
    for spec in each(items):
        yield f"lab device {spec}", spec.model.since
