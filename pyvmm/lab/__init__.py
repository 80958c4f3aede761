# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A PC with IOMMU, VFIO and KVM on any host: QEMU in software, on the host's own files."""

from __future__ import annotations

from ..uapi.lazy import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .assets import prepare
    from .errors import LabError
    from .findings import check
    from .session import Lab

__all__ = ["Lab", "LabError", "check", "prepare"]

# The command line's help has a lab's defaults, and no need for what runs one.
_HOMES = {"Lab": "session", "LabError": "errors", "check": "findings", "prepare": "assets"}

__getattr__ = attributes(__name__, _HOMES)
