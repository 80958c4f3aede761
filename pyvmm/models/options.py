# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kinds of options that models have: what each may be, given by YAML or as text on a command line.

Each has a name, a default and a description; `parse()` raises ModelError, which tells what would
be right, and `shown` is the default as a person writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .errors import ModelError

# As in a VM's config: config/notation.py, which no model needs. A test compares them.
_SIZE = re.compile(r"([0-9]{1,18}) ?(?:([KMGTkmgt])(?:iB)?)?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Number(NamedTuple):
    """A number, given as one or as text in Python's notation (0xff)."""

    name: str
    default: int
    maximum: int
    description: str

    @property
    def shown(self) -> str:
        return f"{self.default:#x}"

    def parse(self, value: object) -> int:
        number: object = value
        if isinstance(value, str):
            try:
                number = int(value, 0)
            except ValueError:
                number = None
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= self.maximum:
            return number
        raise _unlike(self.name, f"a number from 0 to {self.maximum:#x}", value)


class Size(NamedTuple):
    """A number of bytes, as in 64M or 1GiB."""

    name: str
    default: int
    description: str

    @property
    def shown(self) -> str:
        unit, factor = next(
            (unit, factor)
            for unit, factor in reversed(_UNITS.items())
            if self.default % factor == 0
        )
        return f"{self.default // factor}{unit}"

    def parse(self, value: object) -> int:
        size: object = value
        if isinstance(value, str):
            match = _SIZE.fullmatch(value)
            size = int(match[1]) * _UNITS[(match[2] or "").upper()] if match else None
        if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 62:
            return size
        raise _unlike(self.name, "a size such as 512M or 1GiB", value)


class Choice(NamedTuple):
    """One of some numbers."""

    name: str
    default: int
    choices: tuple[int, ...]
    description: str

    @property
    def shown(self) -> str:
        return str(self.default)

    def parse(self, value: object) -> int:
        for choice in self.choices:
            if value == str(choice) or (value == choice and not isinstance(value, bool)):
                return choice
        raise _unlike(self.name, f"one of {', '.join(map(str, self.choices))}", value)


class Switch(NamedTuple):
    """true or false."""

    name: str
    default: bool
    description: str

    @property
    def shown(self) -> str:
        return str(self.default).lower()

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise _unlike(self.name, "true or false", value)


class Text(NamedTuple):
    """Printable ASCII, up to so many characters."""

    name: str
    default: str
    longest: int
    description: str

    @property
    def shown(self) -> str:
        return self.default or "none"

    def parse(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # YAML takes a serial number for one
        if isinstance(value, str) and len(value) <= self.longest and _is_printable(value):
            return value
        raise _unlike(self.name, f"up to {self.longest} printable ASCII characters", value)


class File(NamedTuple):
    """A path."""

    name: str
    description: str
    default: str = ""

    @property
    def shown(self) -> str:
        return self.default or "none"

    def parse(self, value: object) -> str:
        if isinstance(value, str) and value and "\0" not in value:
            return value
        raise _unlike(self.name, "a path", value)


class Files(NamedTuple):
    """Paths: a list, or text with commas between them."""

    name: str
    description: str
    default: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return ",".join(self.default) or "none"

    def parse(self, value: object) -> tuple[str, ...]:
        paths: object = value.split(",") if isinstance(value, str) else value
        if isinstance(paths, list | tuple) and all(
            isinstance(path, str) and path and "\0" not in path and "," not in path
            for path in paths
        ):
            return tuple(paths)
        raise _unlike(self.name, "paths, with commas between them but not in them", value)


Option = Number | Size | Choice | Switch | Text | File | Files


def as_text(value: object) -> str:
    """An option's value as it is written on a command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def parse_all(model: str, options: Sequence[Option], given: Mapping[str, object]) -> dict[str, Any]:
    """The values of what was given of a model's options. Raises ModelError."""
    known = {option.name: option for option in options}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ModelError(f"{model} has no option {key!r}{instead(key, 'options', known)}")
        try:
            values[key] = known[key].parse(value)
        except ModelError as error:
            raise ModelError(f"{model}: {error}") from None
    return values


def instead(name: str, what: str, known: Iterable[str]) -> str:
    """What may have been meant by a name, and what there is."""
    import difflib

    near = difflib.get_close_matches(str(name), list(known), n=1)
    meant = f", did you mean {near[0]!r}?" if near else ";"
    there = ", ".join(sorted(known)) or "none"
    return f"{meant} {what}: {there}"


def _is_printable(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _unlike(name: str, expected: str, value: object) -> ModelError:
    return ModelError(f"option {name}: expected {expected}, got {value!r}")
