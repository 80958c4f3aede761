# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The entry point: which command, and what every command has in common."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line argv (default: the process's) and return its exit status."""
    from .failures import guarded

    args = sys.argv[1:] if argv is None else argv
    if len(args) == 2 and args[0] == "run" and not args[1].startswith("-"):
        # The everyday command has nothing to parse, and an option parser takes as long to
        # import as a VM takes to start.
        from .run import run

        return guarded(lambda: run(args[1]))
    from .parser import parse

    options = parse(args)
    return guarded(lambda: options.command(options), verbose=options.verbose)
