# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a QEMU has said that ended before its monitor answered, as an error with a cure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import QemuRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN_NAME = re.compile(r"^qemu-system-x86_64: ")
# The first that fits counts. Groups are for the cure.
_CURES = (
    (r"for jit buffer", "QEMU needs more memory than it may have: raise its limit (ulimit -v)"),
    (r"Cannot allocate memory", "take less --memory, or raise the limit on it (ulimit -v)"),
    (r"-device ([\w-]+),", r"`qemu-system-x86_64 -device \1,help` lists what it takes"),
)


def refusal(said: Sequence[str]) -> QemuRefused | None:
    """The error for what such a QEMU has said, line by line; None if it had nothing to say."""
    if not said:
        return None
    *before, last = said
    cause = f"QEMU doesn't start: {_OWN_NAME.sub('', last)}"
    details = "\n".join(f"QEMU: {line}" for line in before)
    return QemuRefused(cause, _cure(last), details=details)


def _cure(line: str) -> str:
    for pattern, cure in _CURES:
        found = re.search(pattern, line)
        if found:
            return found.expand(cure)
    return ""
