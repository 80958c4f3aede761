# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What kernel UAPI headers define, read with libclang: constants, structures, unions.

The C compiler's own view is the only source: types, sizes and offsets are asked of
libclang's AST, and a macro's value is what the compiler computes for it, so that nothing
here parses C.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clang.cindex import (
    Cursor,
    CursorKind,
    Diagnostic,
    Index,
    TranslationUnit,
    Type,
    TypeKind,
)

TARGET = "x86_64-linux-gnu"

RECORDS = (CursorKind.STRUCT_DECL, CursorKind.UNION_DECL)

SCALARS = {
    TypeKind.BOOL: "u8",
    TypeKind.CHAR_U: "u8",
    # In these headers `char` means registers, padding and opaque bytes, never a number.
    TypeKind.CHAR_S: "u8",
    TypeKind.UCHAR: "u8",
    TypeKind.SCHAR: "s8",
    TypeKind.USHORT: "u16",
    TypeKind.SHORT: "s16",
    TypeKind.UINT: "u32",
    TypeKind.INT: "s32",
    TypeKind.ULONG: "u64",
    TypeKind.LONG: "s64",
    TypeKind.ULONGLONG: "u64",
    TypeKind.LONGLONG: "s64",
    TypeKind.POINTER: "ptr",
}


# What headers of the kernel use without including it.
_PRELUDE = ("asm/bitsperlong.h", "linux/const.h", "linux/bits.h", "linux/errno.h")


class HeaderError(Exception):
    """The headers could not be read, or hold something that ctypes cannot express."""


@dataclass(frozen=True)
class Constant:
    """A macro that is an integer or a string, or an enumerator."""

    name: str
    value: int | str
    text: str  # as spelled in the header; empty for an enumerator
    enum: str = ""  # the tag of the enum it belongs to


@dataclass(frozen=True)
class Member:
    """A member of a structure or union; offset and width are in bits."""

    name: str
    type: str
    offset: int
    width: int = 0  # of a bit-field, else 0
    anonymous: bool = False


@dataclass(frozen=True)
class Record:
    """A structure or union; size and alignment in bytes."""

    name: str
    kind: str  # "struct" or "union"
    size: int
    align: int
    packed: bool
    members: tuple[Member, ...]


@dataclass
class Definitions:
    """Everything that one set of headers defines, in the order of definition."""

    constants: list[Constant] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def read(include: Path, headers: Sequence[str]) -> Definitions:
    """What `headers` (as in #include <...>) under `include` (a usr/include) define, for x86-64.

    Raises HeaderError.
    """
    return _Reader(include, headers).read()


class _Reader:
    def __init__(self, include: Path, headers: Sequence[str]) -> None:
        roots = (include, include / TARGET)
        self._files = {str(root / header) for root in roots for header in headers}
        self._prologue = "".join(f"#include <{header}>\n" for header in (*_PRELUDE, *headers))
        # Rejected macros are known by their errors: the compiler must not stop after twenty.
        language = ("-target", TARGET, "-std=gnu11", "-ferror-limit=0", "-nostdinc")
        self._flags = [*language, *(f"-I{root}" for root in roots)]
        self._result = Definitions()
        self._tags: dict[str, Record] = {}

    def read(self) -> Definitions:
        unit = self._parse(self._prologue)
        _raise_errors(unit)
        macros: dict[str, Cursor] = {}
        for cursor in unit.cursor.get_children():
            if not self._ours(cursor):
                continue
            if cursor.kind == CursorKind.MACRO_DEFINITION:
                macros[cursor.spelling] = cursor
            elif cursor.kind == CursorKind.ENUM_DECL:
                self._enum(cursor)
            elif cursor.kind in RECORDS and cursor.is_definition():
                self._record(cursor, cursor.spelling)
        self._macros(macros)
        return self._result

    def _parse(self, text: str) -> TranslationUnit:
        return Index.create().parse(
            "uapi.c",
            args=self._flags,
            unsaved_files=[("uapi.c", text)],
            options=TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD,
        )

    def _ours(self, cursor: Cursor) -> bool:
        file = cursor.location.file
        return file is not None and file.name in self._files

    # Constants

    def _enum(self, cursor: Cursor) -> None:
        tag = cursor.spelling if cursor.spelling.isidentifier() else ""
        self._result.constants += [
            Constant(child.spelling, _enumerator_value(cursor, child), "", tag)
            for child in cursor.get_children()
        ]

    def _macros(self, macros: dict[str, Cursor]) -> None:
        texts = {}
        for name, cursor in macros.items():
            body = [token.spelling for token in cursor.get_tokens()][1:]
            if body and not _function_like(cursor):
                texts[name] = " ".join(body)
        values: dict[str, int | str] = {
            name: ast.literal_eval(text) for name, text in texts.items() if text.startswith('"')
        }
        values |= self._evaluate([name for name in texts if name not in values])
        # `#define NAME NAME` only announces an enumerator.
        enumerators = {constant.name for constant in self._result.constants}
        self._result.constants += [
            Constant(name, values[name], text)
            for name, text in texts.items()
            if name in values and name not in enumerators
        ]

    def _evaluate(self, names: list[str]) -> dict[str, int]:
        """The values of those macros that are integer constant expressions."""
        values = self._evaluate_together(names)
        for name in names:
            if name not in values:
                # A macro that is none can take its neighbours along: hear each one alone.
                values |= self._evaluate_together([name])
        return values

    def _evaluate_together(self, names: list[str]) -> dict[str, int]:
        enums = "".join(f"enum {{ value_of_{name} = ({name}) }};\n" for name in names)
        unit = self._parse(self._prologue + enums)
        bad = {d.location.line for d in unit.diagnostics if d.severity >= Diagnostic.Error}
        return {
            child.spelling.removeprefix("value_of_"): _enumerator_value(enum, child)
            for enum in unit.cursor.get_children()
            if enum.kind == CursorKind.ENUM_DECL and enum.location.line not in bad
            for child in enum.get_children()
            if child.spelling.startswith("value_of_")
        }

    # Structures and unions

    def _record(self, cursor: Cursor, name: str, scope: str = "") -> Record:
        """Add a structure or union, those it holds first.

        Members of an anonymous record belong to the record around it in C: `scope` is the
        innermost record with a name, which names those within.
        """
        scope = scope or name
        if name in self._tags:
            raise HeaderError(f"two types would be called {name}")
        members: list[Member] = []
        for child in cursor.type.get_fields():
            offset = child.get_field_offsetof()
            if child.spelling.isidentifier():
                width = child.get_bitfield_width() if child.is_bitfield() else 0
                type_ = self._type(child.type, scope, child)
                members.append(Member(child.spelling, type_, offset, width))
                continue
            flexible = _declared_flexible_array(child.type)
            if flexible is not None:
                type_ = self._type(flexible.type, scope, flexible)
                members.append(Member(flexible.spelling, type_, offset))
                continue
            number = sum(member.anonymous for member in members) + 1
            inner = f"{name}_anonymous_{number}"
            self._record(child.type.get_declaration(), inner, scope)
            members.append(Member(f"anonymous_{number}", inner, offset, anonymous=True))
        record = Record(
            name,
            "union" if cursor.kind == CursorKind.UNION_DECL else "struct",
            cursor.type.get_size(),
            cursor.type.get_align(),
            any(c.kind == CursorKind.PACKED_ATTR for c in cursor.get_children()),
            tuple(members),
        )
        self._tags[name] = record
        self._result.records.append(record)
        return record

    def _type(self, clang_type: Type, owner: str, member: Cursor) -> str:
        canonical = clang_type.get_canonical()
        if canonical.kind == TypeKind.CONSTANTARRAY:
            dimensions = ""
            while canonical.kind == TypeKind.CONSTANTARRAY:
                dimensions += f"[{canonical.element_count}]"
                canonical = canonical.element_type.get_canonical()
            return self._type(canonical, owner, member) + dimensions
        if canonical.kind == TypeKind.INCOMPLETEARRAY:
            return self._type(canonical.element_type, owner, member) + "[0]"
        if canonical.kind == TypeKind.ENUM:
            underlying: Type = canonical.get_declaration().enum_type
            return self._type(underlying, owner, member)
        if canonical.kind == TypeKind.RECORD:
            declaration: Cursor = canonical.get_declaration()
            tag: str = declaration.spelling
            if not tag.isidentifier():  # empty, or "(unnamed at ...)"
                return self._record(declaration, f"{owner}_{member.spelling}").name
            if tag not in self._tags:
                self._record(declaration, tag)
            return tag
        if canonical.kind in SCALARS:
            return SCALARS[canonical.kind]
        raise HeaderError(f"{owner}.{member.spelling}: no ctypes type for {canonical.spelling}")


def _declared_flexible_array(type_: Type) -> Cursor | None:
    """The array in what __DECLARE_FLEX_ARRAY() expands to: an empty structure and the array."""
    members = list(type_.get_fields())
    if (
        len(members) == 2
        and members[0].type.get_size() == 0
        and members[1].type.kind == TypeKind.INCOMPLETEARRAY
    ):
        return members[1]
    return None


def _function_like(cursor: Cursor) -> bool:
    """Whether a macro takes arguments: a parenthesis follows its name with no space between."""
    name, following = itertools.islice(cursor.get_tokens(), 2)
    adjacent: bool = following.extent.start == name.extent.end
    return adjacent and following.spelling == "("


def _enumerator_value(enum: Cursor, enumerator: Cursor) -> int:
    """libclang gives every value as a signed 64-bit number; the enum's type tells its sign."""
    unsigned = SCALARS[enum.enum_type.get_canonical().kind].startswith("u")
    value: int = enumerator.enum_value
    return value % (1 << 64) if unsigned else value


def _raise_errors(unit: TranslationUnit) -> None:
    errors = [d.format() for d in unit.diagnostics if d.severity >= Diagnostic.Error]
    if errors:
        raise HeaderError("the headers do not compile:\n" + "\n".join(errors))
