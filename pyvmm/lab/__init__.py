# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A PC with IOMMU, VFIO and KVM on any host: QEMU in software, on the host's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import LabEnded, LabError, LabSilent, LabTimeout
    from .session import Lab

__all__ = ["Lab", "LabEnded", "LabError", "LabSilent", "LabTimeout"]

# The command line asks this package for its defaults, also when no lab is wanted.
_HOMES = {"Lab": "session", **dict.fromkeys(set(__all__) - {"Lab"}, "errors")}


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
