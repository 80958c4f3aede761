# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VM configs: YAML to typed structs. All but load() and parse() is imported when asked for."""

from __future__ import annotations

from ..uapi.lazy import attributes
from .loader import load, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import ConfigError, ConfigInvalid, ConfigSyntaxError, ConfigUnreadable, SlotTaken
    from .json_schema import json_schema
    from .schema import Device, Initrd, Memory, VmConfig

__all__ = [
    "ConfigError",
    "ConfigInvalid",
    "ConfigSyntaxError",
    "ConfigUnreadable",
    "Device",
    "Initrd",
    "Memory",
    "SlotTaken",
    "VmConfig",
    "json_schema",
    "load",
    "parse",
]

_HOMES = {
    "ConfigError": "errors",
    "ConfigInvalid": "errors",
    "ConfigSyntaxError": "errors",
    "ConfigUnreadable": "errors",
    "Device": "schema",
    "Initrd": "schema",
    "Memory": "schema",
    "SlotTaken": "errors",
    "VmConfig": "schema",
    "json_schema": "json_schema",
}

__getattr__ = attributes(__name__, _HOMES)
