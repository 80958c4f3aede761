# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VM configs: YAML to typed structs. All but load() and parse() is imported when asked for."""

from __future__ import annotations

from .loader import load, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import ConfigError, ConfigInvalid, ConfigSyntaxError, ConfigUnreadable, SlotTaken
    from .json_schema import json_schema
    from .schema import Device, Memory, VmConfig

__all__ = [
    "ConfigError",
    "ConfigInvalid",
    "ConfigSyntaxError",
    "ConfigUnreadable",
    "Device",
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
    "Memory": "schema",
    "SlotTaken": "errors",
    "VmConfig": "schema",
    "json_schema": "json_schema",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
