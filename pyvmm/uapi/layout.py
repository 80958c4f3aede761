# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernel structures as ctypes types, built when they are first asked for.

To define a ctypes structure costs some 20 µs, and kvm.h alone has 200 of them, of which a
VMM needs two dozen. So the generated modules hold their layouts as plain data, and this
module turns one into a type at the first access to its name.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # A member is (name, type) or (name, type, width in bits); a type is a scalar's name, a
    # structure's or union's name, or either with dimensions, as in "u8[8][16]". A kind is
    # "struct", "packed" or "union".
    Member = tuple[str, str] | tuple[str, str, int]
    Layouts = dict[str, tuple[str, tuple[Member, ...]]]

_SCALARS: dict[str, Any] = {
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "s8": ctypes.c_int8,
    "s16": ctypes.c_int16,
    "s32": ctypes.c_int32,
    "s64": ctypes.c_int64,
    "ptr": ctypes.c_void_p,
}


def build(name: str, namespace: dict[str, Any]) -> Any:
    """The structure or union `name` of the generated module with this namespace.

    The module keeps the type: a name is built once. Raises AttributeError.
    """
    layouts: Layouts = namespace["_LAYOUTS"]
    if name not in layouts:
        raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
    kind, members = layouts[name]
    # Without __slots__ a misspelt member would be set, and never reach the kernel.
    body: dict[str, Any] = {"__module__": namespace["__name__"], "__slots__": ()}
    anonymous = [member[0] for member in members if member[0].startswith("anonymous_")]
    if anonymous:
        body["_anonymous_"] = anonymous
    if kind == "packed":
        body["_pack_"] = 1
    body["_fields_"] = [(member[0], _type(member[1], namespace), *member[2:]) for member in members]
    base: Any = ctypes.Union if kind == "union" else ctypes.Structure
    # Two threads may get here at once; both must come away with the same type.
    return namespace.setdefault(name, type(base)(name, (base,), body))


def _type(text: str, namespace: dict[str, Any]) -> Any:
    known = _SCALARS.get(text) or namespace.get(text)
    if known:
        return known
    if not text.endswith("]"):
        return build(text, namespace)
    element, *dimensions = text.split("[")
    array = _type(element, namespace)
    for dimension in reversed(dimensions):
        array *= int(dimension[:-1])
    return array
