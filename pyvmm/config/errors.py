# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can be wrong with a config, said in one line that names the file, the line and the key."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    KeyPath = tuple[str | int, ...]


class ConfigError(Exception):
    """Base of the config room's errors.

    problem is what is wrong; key the path to the value, such as ("devices", 1, "slot"); file, line
    and column (from 1; 0 where unknown) where it was written.
    """

    def __init__(
        self,
        problem: str,
        *,
        key: KeyPath = (),
        file: str = "",
        line: int = 0,
        column: int = 0,
    ) -> None:
        self.problem = problem
        self.key = key
        self.file = file
        self.line = line
        self.column = column
        place = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(": ".join(part for part in (place, key_text(key), problem) if part))


class ConfigUnreadable(ConfigError):
    """The file is missing, can't be read, or is no text that could be a config."""


class ConfigSyntaxError(ConfigError):
    """The text is not YAML, or uses parts of YAML that a config does without."""


class ConfigInvalid(ConfigError, ValueError):
    """A key that does not exist, a value that it can't have, or two values that don't go together.

    Also a ValueError, because that is what msgspec expects a struct to raise.
    """


class SlotTaken(ConfigInvalid):
    """Two devices in one slot."""


def key_text(key: KeyPath) -> str:
    """The path as people write it: ("devices", 1, "slot") is devices[1].slot."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
