# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A way for a guest's devices to DMA: a container or an IOAS."""

from __future__ import annotations

from pyvmm.vfio.kernel import backends

from .._finding import Finding

_SUBJECT = "DMA"


def check(root: str) -> Finding:
    """Which of the library's back ends this user can have here."""
    found = backends(root=root)
    names = [backend.name for backend in found if backend.available]
    if any(name != "noiommu" for name in names):
        return Finding(_SUBJECT, True, f"by {', '.join(names)}")
    # The others come with it, or are for later kernels.
    missing = next(backend.missing for backend in found if backend.name == "type1v2")
    return Finding(_SUBJECT, False, missing)
