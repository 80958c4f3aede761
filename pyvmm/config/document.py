# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""YAML text as plain data, with the line each value was written on.

Built from the parser's events, for what a config needs and no more: mappings with distinct text
keys, lists, and scalars by YAML 1.2's core schema (so that on and no are text). Anchors and
aliases work; tags and further documents are refused. Nesting and the number of values, each alias
counted as all that it stands for, are bounded: no text, however hostile, takes long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import yaml

from .errors import ConfigSyntaxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import KeyPath

MAX_DEPTH = 16
MAX_VALUES = 10_000

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# NUL, and halves of surrogate pairs.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_LONGEST_NUMBER = 64


class Origin(NamedTuple):
    """Where a value was written: a file and line, and the folder its relative paths start from.

    text is what a value given beside the file was written as, before YAML read it.
    """

    file: str
    line: int
    base: str
    text: str | None = None


class Document:
    """Plain data and the origin of its values, by key path."""

    def __init__(self, data: object, origins: dict[KeyPath, Origin]) -> None:
        self.data = data
        self.origins = origins

    def origin(self, key: KeyPath) -> Origin:
        """The origin of the value at key, or of the nearest one around it that has any."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins[key]

    def value(self, key: KeyPath) -> object:
        """The value at key, which exists."""
        found: object = self.data
        for part in key:
            found = found[part]  # type: ignore[index]
        return found


def parse(text: str, file: str, base: str) -> Document:
    """Parse text, which came from file. Raises ConfigSyntaxError, which names line and column."""
    builder = _Builder(file, base)
    try:
        data = builder.build(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        raise ConfigSyntaxError(
            f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed",
            file=file,
            line=before.count("\n") + 1,
            column=error.position - (before.rfind("\n") + 1) + 1,
        ) from None
    except yaml.MarkedYAMLError as error:
        what = ": ".join(part for part in (error.context, error.problem) if part)
        builder.fail(f"not YAML: {what}", error.problem_mark or error.context_mark)
    return Document(data, builder.origins)


class _Builder:
    def __init__(self, file: str, base: str) -> None:
        self.origins: dict[KeyPath, Origin] = {}
        self._file = file
        self._base = base
        self._count = 0
        self._anchors: dict[str, tuple[object, int]] = {}

    # PyYAML's stubs don't know all of an event's attributes, hence Any here and there.

    def build(self, events: Iterator[Any]) -> object:
        self._events = events
        data: object = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.fail("expected one document, got another", event.start_mark)
            elif isinstance(event, yaml.NodeEvent):
                data = self._value(event, ())
        self.origins.setdefault((), Origin(self._file, 1, self._base))
        return data

    def fail(self, problem: str, mark: Any) -> NoReturn:
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigSyntaxError(problem, file=self._file, line=line, column=column)

    def _value(self, event: Any, key: KeyPath) -> object:
        mark = event.start_mark
        self.origins.setdefault(key, Origin(self._file, mark.line + 1, self._base))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                self.fail(f"the alias *{event.anchor} comes before its anchor is complete", mark)
            value, size = self._anchors[event.anchor]
            self._add(size, mark)
            return value
        if event.tag is not None:
            self.fail(f"a config has no tags, got {event.tag}", mark)
        if len(key) > MAX_DEPTH:
            self.fail(f"nested too deeply: more than {MAX_DEPTH} levels", mark)
        before = self._count
        self._add(1, mark)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(key)
        else:
            value = self._sequence(key)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _add(self, size: int, mark: Any) -> None:
        self._count += size
        if self._count > MAX_VALUES:
            self.fail(f"too many values: more than {MAX_VALUES}, with aliases written out", mark)

    def _mapping(self, key: KeyPath) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(name, str):
                self.fail("expected text for a key", event.start_mark)
            path = (*key, name)
            if name in mapping:
                self.fail(
                    f"the key {name} is here already, on line {self.origins[path].line}",
                    event.start_mark,
                )
            # The key's line, not its value's: that is where one looks for devices[1].slot.
            self.origins[path] = Origin(self._file, event.start_mark.line + 1, self._base)
            mapping[name] = self._value(next(self._events), path)
        return mapping

    def _sequence(self, key: KeyPath) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*key, len(items))))
        return items

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text = event.value
        plain = event.implicit[0]
        try:
            check_characters(text)
            return plain_scalar(text) if plain else text
        except ValueError as error:
            self.fail(str(error), event.start_mark)


def check_characters(text: str) -> None:
    """Raises ValueError for what no path, name or command line can hold."""
    if unusable := _UNUSABLE.search(text):
        raise ValueError(f"the character U+{ord(unusable[0]):04X} is not allowed")


def plain_scalar(text: str) -> str | int | float | bool | None:
    """What text without quotes means. Raises ValueError for a number beyond reason."""
    if text in _WORDS:
        return _WORDS[text]
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            _check_length(text)
            return int(text, base)
    if _FLOAT.fullmatch(text):
        _check_length(text)
        return float(text)
    return text


def _check_length(number: str) -> None:
    if len(number) > _LONGEST_NUMBER:
        raise ValueError(f"a number of more than {_LONGEST_NUMBER} characters")
