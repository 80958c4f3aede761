# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's VFIO: PCI devices of this host, behind type1 containers, iommufd or no IOMMU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...uapi.lazy import attributes
from .open import BACKENDS, Backend, backends, best_backend, open_device, open_space

if TYPE_CHECKING:
    from .container import Container
    from .device import KernelDevice
    from .dma_logging import KernelDmaLogging
    from .features import KernelFeatures
    from .hot_reset import DependentDevice, HotResetInfo
    from .ioas import Ioas
    from .iommufd import Iommufd
    from .locked_memory import check_limit
    from .map_errors import Reserved, reserved_by
    from .migration import KernelMigration, KernelMigrationData
    from .no_iommu import NoIommuSpace
    from .notices import Notices
    from .resets import NotReset, reset_all
    from .space import KernelSpace

__all__ = [
    "BACKENDS",
    "Backend",
    "Container",
    "DependentDevice",
    "HotResetInfo",
    "Ioas",
    "Iommufd",
    "KernelDevice",
    "KernelDmaLogging",
    "KernelFeatures",
    "KernelMigration",
    "KernelMigrationData",
    "KernelSpace",
    "NoIommuSpace",
    "NotReset",
    "Notices",
    "Reserved",
    "backends",
    "best_backend",
    "check_limit",
    "open_device",
    "open_space",
    "reserved_by",
    "reset_all",
]

# A guest's device takes one of the spaces, and seldom migrates.
_HOMES = {
    "Container": "container",
    "KernelDevice": "device",
    "KernelDmaLogging": "dma_logging",
    "KernelFeatures": "features",
    **dict.fromkeys(("DependentDevice", "HotResetInfo"), "hot_reset"),
    "Ioas": "ioas",
    "Iommufd": "iommufd",
    "check_limit": "locked_memory",
    **dict.fromkeys(("Reserved", "reserved_by"), "map_errors"),
    **dict.fromkeys(("KernelMigration", "KernelMigrationData"), "migration"),
    "NoIommuSpace": "no_iommu",
    "Notices": "notices",
    **dict.fromkeys(("NotReset", "reset_all"), "resets"),
    "KernelSpace": "space",
}

__getattr__ = attributes(__name__, _HOMES)
