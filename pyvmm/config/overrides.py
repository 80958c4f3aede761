# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Values given beside the file (``--set memory=128M``), put where the file would have them.

A key is written as errors write it: cpus, memory.size, devices[1].slot; devices.1.slot is the same.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from . import document
from .errors import ConfigInvalid, ConfigSyntaxError, key_text
from .notation import written_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .document import Document
    from .errors import KeyPath

_WHERE = "override"
_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+|\[[0-9]+\])*", re.ASCII)


def apply(given: Document, overrides: Mapping[str, object]) -> None:
    """Change given. Text is read as YAML, other values are taken as they are.

    A value replaces the one there was, mappings and lists included; an index one past a list's end
    appends. Relative paths start from the current directory, where the override was typed. Raises
    ConfigInvalid.
    """
    for name, value in overrides.items():
        _put(given, _key(name), value)


def _key(name: str) -> KeyPath:
    if not _KEY.fullmatch(name):
        raise ConfigInvalid(
            f"expected a key such as memory or devices[0].slot to override, got {name!r}"
        )
    return tuple(
        int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", name) if part
    )


def _put(given: Document, key: KeyPath, value: object) -> None:
    if not isinstance(given.data, dict):
        return  # not a config at all; that is the file's error to report
    given.data = written_out(given.data)
    holder: Any = given.data
    for depth, part in enumerate(key[:-1], 1):
        _make_room(holder, part, key[:depth], [] if isinstance(key[depth], int) else {})
        # A copy: through an alias, the same mapping may stand elsewhere too.
        held = holder[part]
        holder[part] = held.copy() if isinstance(held, dict | list) else held
        holder = holder[part]
    _make_room(holder, key[-1], key, None)
    text = value if isinstance(value, str) else None
    holder[key[-1]] = value if text is None else _read(text)
    for old in [old for old in given.origins if old[: len(key)] == key]:
        del given.origins[old]
    origin = document.Origin(_WHERE, 0, _current_folder(), text)
    for depth in range(1, len(key)):
        given.origins.setdefault(key[:depth], origin._replace(text=None))
    given.origins[key] = origin


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has removed it
        return "."


def _make_room(holder: object, part: str | int, key: KeyPath, empty: object) -> None:
    """Have holder contain part: empty if it is not there yet."""
    if isinstance(holder, dict) and isinstance(part, str):
        if holder.get(part) is None:
            holder[part] = empty
    elif isinstance(holder, list) and isinstance(part, int):
        if part > len(holder):
            raise ConfigInvalid(_there_are(len(holder), key[:-1]), key=key, file=_WHERE)
        if part == len(holder):
            holder.append(empty)
    else:
        kind = "list" if isinstance(part, int) else "mapping"
        raise ConfigInvalid(f"expected a {kind} to hold this key", key=key, file=_WHERE)


def _there_are(count: int, of: KeyPath) -> str:
    """Which items a list has, by their names in messages and on the command line."""
    first, last, new = (key_text((*of, index)) for index in (0, count - 1, count))
    if count == 0:
        return f"there are none yet; {new} adds the first"
    there = f"is {first} alone, counted" if count == 1 else f"are {first} to {last}, which count"
    return f"there {there} from 0; {new} adds one"


def _read(text: str) -> object:
    """The value that text means; text that is not YAML is just text."""
    if not text:
        return ""
    try:
        return document.parse(text, "", "").data
    except ConfigSyntaxError:
        return text
