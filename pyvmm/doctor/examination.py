# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""examine(): all that this host has to have for device assignment, looked at in order."""

from __future__ import annotations

import os

from . import (
    assignable,
    dma_spaces,
    interrupts,
    iommu,
    iommufd,
    kvm,
    locked_memory,
    vfio_pci,
    writable_sysfs,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._finding import Finding

# From the firmware up to the devices; what comes first is often why the rest isn't there.
_CHECKS = (
    iommu.check,
    interrupts.check,
    vfio_pci.check,
    dma_spaces.check,
    iommufd.check,
    locked_memory.check,
    writable_sysfs.check,
    kvm.check,
    assignable.check,
)


def examine(*, root: str | os.PathLike[str] = "/") -> list[Finding]:
    """What there is and what is missing, with the cure. Changes nothing."""
    return [check(os.fspath(root)) for check in _CHECKS]
