# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A way for a guest's devices to DMA: a container or an IOAS."""

from __future__ import annotations

import os

from pyvmm.vfio.host.modules import VFIO_DRIVER, can_be_loaded, driver_path
from pyvmm.vfio.kernel import backends

from .._finding import Finding

_SUBJECT = "DMA"


def check(root: str) -> Finding:
    """Which of the library's back ends this user can have here."""
    found = backends(root=root)
    names = [backend.name for backend in found if backend.available]
    if any(name != "noiommu" for name in names):
        return Finding(_SUBJECT, True, f"by {', '.join(names)}")
    loaded = os.path.isdir(driver_path(VFIO_DRIVER, root=root))
    if not loaded and not can_be_loaded(VFIO_DRIVER, root=root):
        return Finding(_SUBJECT, False, f"none without VFIO: see {VFIO_DRIVER}")
    # The others come with it, or are for later kernels.
    missing = next(backend.missing for backend in found if backend.name == "type1v2")
    return Finding(_SUBJECT, False, missing)
