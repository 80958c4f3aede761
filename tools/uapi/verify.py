# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Checks that the types a generated module builds are laid out as the compiler lays them out.

ctypes knows natural alignment and packing, no more. A structure that asks for another alignment
would come out wrong without a word: then nothing is generated.
"""

from __future__ import annotations

import ctypes
from typing import Any

from pyvmm.uapi.layout import build
from tools.uapi.headers import Definitions, HeaderError, Member


def verify(text: str, definitions: Definitions) -> None:
    """Compare the types of the module `text` with `definitions`. Raises HeaderError."""
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(text, namespace)
    for record in definitions.records:
        type_ = build(record.name, namespace)
        found = (ctypes.sizeof(type_), ctypes.alignment(type_))
        if found != (record.size, record.align):
            raise HeaderError(
                f"{record.name}: ctypes gives size and alignment {found}, "
                f"the compiler {(record.size, record.align)}"
            )
        for member in record.members:
            if _bits(type_, member) != member.offset:
                raise HeaderError(f"{record.name}.{member.name}: ctypes puts it elsewhere")


def _bits(type_: Any, member: Member) -> int:
    """The offset in bits of a member, for a bit-field by where its lowest bit ends up."""
    if not member.width:
        return 8 * int(getattr(type_, member.name).offset)
    value = type_()
    setattr(value, member.name, 1)
    return int.from_bytes(bytes(value), "little").bit_length() - 1
