# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Python source for what headers define: a module to run, and a stub with its types.

The module is built for a short import (see pyvmm/uapi/layout.py): constants, and layouts as
data. The stub is what type checkers and editors read: real classes with typed members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from tools.uapi.headers import Constant, Definitions, Record

_HEADER = '''\
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause{directives}
"""The kernel's ABI: {includes}.

Generated from Debian's {package} by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""
'''

_CTYPES = {
    **{f"u{width}": f"ctypes.c_uint{width}" for width in (8, 16, 32, 64)},
    **{f"s{width}": f"ctypes.c_int{width}" for width in (8, 16, 32, 64)},
    "ptr": "ctypes.c_void_p",
}


def module(definitions: Definitions, headers: Sequence[str], package: str) -> str:
    """The text of the module."""
    lines = [_header(headers, package)]
    if definitions.records:
        lines += ["from pyvmm.uapi.layout import build as _build", ""]
    lines += _constants(definitions.constants, "{name} = {value}")
    if definitions.records:
        lines += ["", "_LAYOUTS = {"]
        for record in definitions.records:
            lines += _layout(record)
        lines += [
            "}",
            "",
            "",
            "def __getattr__(name):",
            "    return _build(name, globals())",
            "",
            "",
            "def __dir__():",
            "    return sorted({*globals(), *_LAYOUTS})",
        ]
    return "\n".join(lines) + "\n"


def stub(definitions: Definitions, headers: Sequence[str], package: str) -> str:
    """The text of the stub."""
    lines = [_header(headers, package, "\n# ruff: noqa\n# fmt: off")]
    if definitions.records:
        lines += ["import ctypes", "from ctypes import Array, Structure, Union"]
    lines += ["from typing import Final", ""]
    lines += _constants(definitions.constants, "{name}: Final = {value}")
    records = {record.name: record for record in definitions.records}
    for record in definitions.records:
        lines += ["", f"class {record.name}({'Union' if record.kind == 'union' else 'Structure'}):"]
        members = [f"    {name}: {type_}" for name, type_ in _stub_members(record, records)]
        lines += members or ["    pass"]
    return "\n".join(lines) + "\n"


def _header(headers: Sequence[str], package: str, directives: str = "") -> str:
    includes = ", ".join(f"<{header}>" for header in headers)
    return _HEADER.format(includes=includes, package=package, directives=directives)


def _constants(constants: Sequence[Constant], form: str) -> Iterator[str]:
    enum = ""
    for constant in constants:
        if constant.enum != enum:
            enum = constant.enum
            yield f"# enum {enum}" if enum else ""
        yield form.format(name=constant.name, value=_literal(constant))


def _literal(constant: Constant) -> str:
    """As the header has it: a string, a decimal number, or else hexadecimal."""
    value, text = constant.value, constant.text.strip("()UuLl ")
    if isinstance(value, str):
        return json.dumps(value)
    return str(value) if value < 10 or not text or text.isdecimal() else hex(value)


def _layout(record: Record) -> Iterator[str]:
    kind = "packed" if record.packed else record.kind
    yield f'    "{record.name}": ("{kind}", ('
    for member in record.members:
        width = f", {member.width}" if member.width else ""
        yield f'        ("{member.name}", "{member.type}"{width}),'
    yield "    )),"


def _stub_members(record: Record, records: Mapping[str, Record]) -> Iterator[tuple[str, str]]:
    """Name and Python type of each member, those of anonymous members included."""
    for member in record.members:
        yield member.name, _stub_type(member.type)
        if member.anonymous:
            for name, type_ in _stub_members(records[member.type], records):
                if not name.startswith("anonymous_"):
                    yield name, type_


def _stub_type(text: str) -> str:
    element, *dimensions = text.split("[")
    if not dimensions:
        if element == "ptr":
            return "int | None"
        return "int" if element in _CTYPES else element
    result = _CTYPES.get(element, element)
    for _ in dimensions:
        result = f"Array[{result}]"
    return result
