# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's VFIO: PCI devices of this host, behind type1 containers, iommufd or no IOMMU."""

from __future__ import annotations

from .container import Container
from .device import KernelDevice
from .ioas import Ioas
from .iommufd import Iommufd
from .no_iommu import NoIommuSpace
from .open import BACKENDS, Backend, backends, best_backend, open_device, open_space
from .space import KernelSpace

__all__ = [
    "BACKENDS",
    "Backend",
    "Container",
    "Ioas",
    "Iommufd",
    "KernelDevice",
    "KernelSpace",
    "NoIommuSpace",
    "backends",
    "best_backend",
    "open_device",
    "open_space",
]
