# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""From plain data to a VmConfig, or to an error that says what was expected where."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from .document import check_characters
from .errors import ConfigInvalid
from .notation import Explained
from .schema import VmConfig

if TYPE_CHECKING:
    from .document import Document
    from .errors import KeyPath


def check(document: Document) -> VmConfig:
    """The VmConfig that document means. Raises ConfigInvalid."""
    try:
        data = _meant(document, _shape(), document.data, ())
        return msgspec.convert(data, VmConfig)
    except ConfigInvalid as error:
        found = error
    except msgspec.ValidationError as error:
        found = _explain(document, error)
    origin = document.origin(found.key)
    raise type(found)(found.problem, key=found.key, file=origin.file, line=origin.line) from None


@functools.cache
def _shape() -> inspect.Type:
    return inspect.type_info(VmConfig)


def _meant(document: Document, shape: inspect.Type, value: object, key: KeyPath) -> object:
    """value with its notations read; keys that don't exist are found on the way."""
    extra: dict[str, Any] = {}
    if isinstance(shape, inspect.Metadata):
        extra = shape.extra or {}
        shape = shape.type
    origin = document.origin(key)
    if key in document.origins and origin.text is not None and _is_text(shape):
        value = origin.text
    if isinstance(value, str):
        try:
            check_characters(value)
        except ValueError as error:
            raise ConfigInvalid(str(error), key=key) from None
    if "notation" in extra:
        try:
            value = extra["notation"](value, origin.base)
        except Explained as error:
            raise ConfigInvalid(str(error), key=key) from None
        except ValueError:
            raise ConfigInvalid(_unexpected(extra["expected"], value), key=key) from None
    if (struct := _struct(shape)) is not None:
        return _meant_struct(document, struct, value, key)
    if isinstance(shape, inspect.VarTupleType) and isinstance(value, list | tuple):
        return [
            _meant(document, shape.item_type, item, (*key, index))
            for index, item in enumerate(value)
        ]
    return value


def _is_text(shape: inspect.Type) -> bool:
    if isinstance(shape, inspect.UnionType):
        return any(_is_text(one) for one in shape.types)
    return isinstance(shape, inspect.StrType)


def _struct(shape: inspect.Type) -> inspect.StructType | None:
    """The struct that a mapping here means, if it means one."""
    if isinstance(shape, inspect.UnionType):
        return next(filter(None, map(_struct, shape.types)), None)
    return shape if isinstance(shape, inspect.StructType) else None


def _meant_struct(
    document: Document, shape: inspect.StructType, value: object, key: KeyPath
) -> object:
    if not isinstance(value, dict):
        return value
    fields = {field.name: field for field in shape.fields}
    meant = {}
    for name, item in value.items():
        if name not in fields:
            raise ConfigInvalid(_unknown(str(name), list(fields)), key=(*key, str(name)))
        meant[name] = _meant(document, fields[name].type, item, (*key, name))
    return meant


def _unknown(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), known, n=1)
    if near:
        return f"no such key; did you mean {near[0]}?"
    return f"no such key; expected one of {', '.join(known)}"


_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<key>.*)`)?", re.DOTALL)


def _explain(document: Document, error: msgspec.ValidationError) -> ConfigInvalid:
    """The error with its key path, from "Expected ... - at `$.devices[1].slot`"."""
    match = _PLACE.fullmatch(str(error))
    assert match is not None
    key: KeyPath = tuple(
        int(part) if part.isdigit() else part
        for part in re.split(r"[.\[\]]+", match["key"] or "")
        if part
    )
    cause = error.__cause__
    if isinstance(cause, ConfigInvalid):
        # Two values of one struct that don't go together; its key starts at that struct.
        return type(cause)(cause.problem, key=key + cause.key)
    return ConfigInvalid(_unexpected(_expectation(key), document.value(key)), key=key)


def _expectation(key: KeyPath) -> str:
    """What the value at key should be."""
    shape = _shape()
    extra: dict[str, Any] = {"expected": "a mapping of keys to values"}
    for part in key:
        if (struct := _struct(shape)) is not None:
            shape = next(field.type for field in struct.fields if field.name == part)
        elif isinstance(shape, inspect.VarTupleType):
            shape = shape.item_type
            extra = {"expected": extra["each"]}
        if isinstance(shape, inspect.Metadata):
            extra = shape.extra or {}
            shape = shape.type
    expected: str = extra["expected"]
    return expected


def _unexpected(expected: str, value: object) -> str:
    return f"expected {expected}, got {_brief(value)}"


def _brief(value: object) -> str:
    """value as YAML would have it, in few words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
