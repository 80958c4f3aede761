# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/config.md: the text of page.md, with tables made from the schema and the models."""

from __future__ import annotations

from pathlib import Path

from msgspec import NODEFAULT, Struct, inspect

from pyvmm.config.cpu import Cpu, CpuidMask
from pyvmm.config.schema import Device, Initrd, Memory, VmConfig
from pyvmm.models import MODELS
from tools.markdown import fill, table

PAGE = Path(__file__).with_name("page.md")

_KINDS: tuple[type[Struct], ...] = (VmConfig, Cpu, CpuidMask, Initrd, Memory, Device)
# Defaults that say more than the value does.
_DEFAULTS = {
    (VmConfig, "name"): "the file's name",
    (VmConfig, "memory"): "`64M`",
    (VmConfig, "cpu"): "the host's",
    (CpuidMask, "leaf"): "needed",
    (CpuidMask, "register"): "needed",
    (Memory, "size"): "`64M`",
}


def render() -> str:
    """The whole page."""
    tables = {kind.__name__: _keys(kind) for kind in _KINDS}
    tables["models"] = _options()
    return fill(PAGE, tables)


def _keys(kind: type[Struct]) -> str:
    shape = inspect.type_info(kind)
    assert isinstance(shape, inspect.StructType)
    rows = []
    for field in shape.fields:
        assert isinstance(field.type, inspect.Metadata)
        says = {**(field.type.extra_json_schema or {}), **(field.type.extra or {})}
        default = _DEFAULTS.get((kind, field.name)) or _default(field)
        rows.append((f"`{field.name}`", says["expected"], default, says["description"]))
    return table(("key", "value", "default", "meaning"), rows)


def _default(field: inspect.Field) -> str:
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value else "none"


def _options() -> str:
    rows = [
        (f"`{name}`", f"`{option.name}`", f"`{option.shown}`", option.description)
        for name, entry in MODELS.items()
        for option in entry.options
    ]
    return table(("model", "option", "default", "meaning"), rows)
