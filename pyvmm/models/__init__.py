# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI devices written in Python, and what to write more of them with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..uapi.lazy import attributes
from .errors import ModelError
from .registry import MODELS, check, create

if TYPE_CHECKING:
    from .capabilities import (
        Express,
        Msi,
        MsiX,
        PowerManagement,
        SerialNumber,
        Vendor,
        VendorExtended,
    )
    from .fields import Field, Flag
    from .layout import Identity
    from .model import Model
    from .regions import Bar, Rom

__all__ = [
    "MODELS",
    "Bar",
    "Express",
    "Field",
    "Flag",
    "Identity",
    "Model",
    "ModelError",
    "Msi",
    "MsiX",
    "PowerManagement",
    "Rom",
    "SerialNumber",
    "Vendor",
    "VendorExtended",
    "check",
    "create",
]

# What only a model in this process needs is imported when it is first asked for: a machine
# whose models run in processes of their own starts sooner without it.
_HOMES = {
    **dict.fromkeys(("Bar", "Rom"), "regions"),
    **dict.fromkeys(("Field", "Flag"), "fields"),
    **dict.fromkeys(("Identity",), "layout"),
    **dict.fromkeys(("Model",), "model"),
    **dict.fromkeys(
        (
            "Express",
            "Msi",
            "MsiX",
            "PowerManagement",
            "SerialNumber",
            "Vendor",
            "VendorExtended",
        ),
        "capabilities",
    ),
}

__getattr__ = attributes(__name__, _HOMES)
