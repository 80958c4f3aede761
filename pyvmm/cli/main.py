# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The entry point: which command, and what every command has in common."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line argv (default: the process's) and return its exit status."""
    # Until a command listens for signals there is nothing to undo, and a traceback tells nobody
    # anything. Ignored signals stay so.
    if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # But for this one, which some that start us ignore: then how a child ended is lost, and for
    # subprocess whatever failed has succeeded.
    if argv is None and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What imports and set-up make is there to stay: looking for cycles in it takes a twentieth
    # of the time to a guest's first byte. Commands that go on for longer switch it on again.
    gc.disable()
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    finally:
        gc.enable()


def _main(args: list[str]) -> int:
    from .failures import guarded

    _open_standard_streams()
    if len(args) == 2 and args[0] == "run" and not args[1].startswith("-"):
        # The everyday command has nothing to parse, and an option parser takes as long to
        # import as a VM takes to start.
        from .run import run

        return guarded(lambda: run(args[1]))
    return guarded(lambda: _parsed(args))


def _parsed(args: list[str]) -> int:
    from .failures import guarded
    from .parser import parse

    try:
        options = parse(args)
    except SystemExit as end:  # --help, --version, usage errors
        return int(end.code or 0)
    return guarded(lambda: options.command(options), verbose=options.verbose)


def _open_standard_streams() -> None:
    """Have 0, 1 and 2 open, or else they would be the next files that we open.

    Guest RAM as standard output, that is, where somebody has started us without one. Then Python
    has none for those that print, either.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
