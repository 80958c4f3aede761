# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong while a machine is built or run."""

from __future__ import annotations


class MachineError(Exception):
    """Base of the machine room's errors."""


class MachineStopped(MachineError):
    """The machine was stopped, by its time limit perhaps, before it was built."""


class ModelProcessFailed(MachineError):
    """The process that was to serve a model could not be started."""


class ConsoleError(MachineError):
    """The serial line did not do what was asked of it."""


class ConsoleTimeout(ConsoleError):
    """The guest did not say, or take, what was waited for in time."""


class ConsoleEnded(ConsoleError):
    """The guest ended without saying, or taking, what was waited for."""
