# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""iommufd with device cdevs: the kernel's newer way, with dirty tracking and device files."""

from __future__ import annotations

from pyvmm.vfio.kernel import backends

from .._finding import Finding

_SUBJECT = "iommufd"


def check(root: str) -> Finding:
    """Whether devices can be had by it; containers serve as well."""
    missing = next(b.missing for b in backends(root=root) if b.name == "iommufd")
    if not missing:
        return Finding(_SUBJECT, True, "with device cdevs")
    return Finding(_SUBJECT, False, missing, needed=False)
