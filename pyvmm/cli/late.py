# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Commands by name: what a command imports is imported when that command runs, and no sooner."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def late(module: str, function: str = "command") -> Callable[[argparse.Namespace], int]:
    """A function of one of the command line's modules, which is imported at the first call."""

    def run(options: argparse.Namespace) -> int:
        import importlib

        command = getattr(importlib.import_module(f".{module}", __package__), function)
        status: int = command(options)
        return status

    return run
