# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machine: a VM built from a config, run, and torn down."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .console import Console
    from .errors import (
        ConsoleEnded,
        ConsoleError,
        ConsoleTimeout,
        MachineError,
        MachineStopped,
        ModelProcessFailed,
    )
    from .machine import Machine
    from .outcome import End, Outcome

__all__ = [
    "Console",
    "ConsoleEnded",
    "ConsoleError",
    "ConsoleTimeout",
    "End",
    "Machine",
    "MachineError",
    "MachineStopped",
    "ModelProcessFailed",
    "Outcome",
]

# All of the VMM is behind Machine, and every command needs to know of End.
_HOMES = {
    **dict.fromkeys(("Console",), "console"),
    **dict.fromkeys(
        (
            "ConsoleEnded",
            "ConsoleError",
            "ConsoleTimeout",
            "MachineError",
            "MachineStopped",
            "ModelProcessFailed",
        ),
        "errors",
    ),
    **dict.fromkeys(("Machine",), "machine"),
    **dict.fromkeys(("End", "Outcome"), "outcome"),
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{home}", __name__), name)
