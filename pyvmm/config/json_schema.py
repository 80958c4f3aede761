# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The JSON Schema of VM configs: for editors, which check and complete by it, and validators."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from pyvmm.kvm.cpu_features import FEATURES

from .notation import ADDRESS_JSON, KERNEL_JSON, PATH_JSON, SIZE_JSON, SLOT_JSON, SOCKET_JSON
from .schema import VmConfig


def json_schema() -> dict[str, Any]:
    """What ``pyvmm schema`` prints, as JSON Schema draft 2020-12."""
    # Through JSON and back: some defaults are tuples.
    made = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(VmConfig)))
    kinds = made["$defs"]
    for kind in kinds.values():  # docstrings, which msgspec leaves indented before 0.23
        kind["description"] = cleandoc(kind["description"])
    config, device, memory = (kinds[name] for name in ("VmConfig", "Device", "Memory"))
    # The structs hold what is meant; a config holds it as people write it.
    _written(memory, "size", SIZE_JSON)
    _written(device, "slot", SLOT_JSON)
    _written(device, "host", ADDRESS_JSON)
    _written(config, "kernel", KERNEL_JSON)
    _written(
        config,
        "initrd",
        {"anyOf": [PATH_JSON, {"$ref": "#/$defs/Initrd"}, {"type": "null"}]},
    )
    _written(config, "monitor", SOCKET_JSON)
    _written(config, "memory", {"anyOf": [*SIZE_JSON["anyOf"], {"$ref": "#/$defs/Memory"}]})
    # What the structs check when they are made.
    kinds["Cpu"]["properties"]["features"]["propertyNames"] = {"enum": sorted(FEATURES)}
    kinds["CpuidMask"]["anyOf"] = [
        {"required": [key], "properties": {key: {"not": {"const": 0}}}} for key in ("clear", "set")
    ]
    config["oneOf"] = [{"required": ["kernel"]}, {"required": ["firmware"]}]
    kinds["Initrd"]["not"] = {
        "required": ["file"],
        "anyOf": [{"required": ["modules"]}, {"required": ["script"]}],
    }
    device["oneOf"] = [{"required": [kind]} for kind in ("model", "socket", "host")]
    del config["properties"]["name"]["default"]  # it is the file's name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pyvmm VM config",
        **made,
    }


def _written(kind: dict[str, Any], key: str, notation: dict[str, Any]) -> None:
    properties = kind["properties"]
    kept = {name: properties[key][name] for name in ("description", "default")}
    properties[key] = {**kept, **notation}
