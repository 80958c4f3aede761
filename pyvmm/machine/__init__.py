# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machine: a VM built from a config, run, and torn down."""

from __future__ import annotations

from ..uapi.lazy import attributes

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

__getattr__ = attributes(__name__, _HOMES)
