# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machine: a VM built from a config, run, and torn down."""

from __future__ import annotations

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
