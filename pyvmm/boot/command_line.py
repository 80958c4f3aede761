# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's command line: what Linux is told besides what the user says, and its encoding."""

from __future__ import annotations

from .errors import BadCommandLine


def for_linux(command_line: str, console: str) -> str:
    """The command line with console=, if it has none; console "" is none to be told of.

    What is added comes first, as the kernel's Documentation/arch/x86/boot.rst asks of boot
    loaders: so the user's own words count last.
    """
    if not console or any(word.startswith("console=") for word in command_line.split()):
        return command_line
    return f"console={console} {command_line}".rstrip()


def encode(command_line: str, limit: int) -> bytes:
    """As a kernel gets it, with a NUL at its end; it takes limit bytes without that.

    Raises BadCommandLine.
    """
    encoded = command_line.encode("utf-8", "surrogateescape")
    if b"\0" in encoded:
        raise BadCommandLine("the kernel command line contains a NUL character; leave it out")
    if len(encoded) > limit:
        raise BadCommandLine(
            f"the kernel command line has {len(encoded)} bytes, this kernel takes {limit}; "
            "shorten it"
        )
    return encoded + b"\0"
