# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How a run ended, as a value."""

from __future__ import annotations

import enum


class End(enum.Enum):
    """What ended a run."""

    EXIT = "guest exit"
    """The guest wrote its exit code to the debug-exit port."""
    POWER_OFF = "power-off"
    RESET = "reset"
    """The guest asked for one, and the config has it end the run."""
    PANIC = "guest panic"
    """The guest told its pvpanic device of it."""
    CRASH = "guest crash"
    """Triple fault, failed emulation or entry, or another exit nothing can be done about."""
    TIMEOUT = "time limit"
    STOPPED = "stopped"
    """stop() was called: by the user, a signal, or a script."""
    RESET_FAILED = "failed reset"
    """The guest could not be booted again; cause says why."""
    INTERNAL = "internal error"
    """A bug of pyvmm: an I/O handler raised."""


class Outcome:
    """What ended a run, the guest's exit code, and a report for people.

    code is the guest's own code after EXIT (0 is success), else None. detail is one line;
    report, where there is more to say (a crash), has several, of which detail is the first.
    device_errors says which devices were lost on the way, and how.
    """

    __slots__ = ("cause", "code", "detail", "device_errors", "end", "report")

    def __init__(
        self,
        end: End,
        detail: str,
        *,
        code: int | None = None,
        report: str = "",
        cause: BaseException | None = None,
    ) -> None:
        self.end = end
        self.detail = detail
        self.code = code
        self.report = report
        self.cause = cause
        self.device_errors: tuple[Exception, ...] = ()

    @property
    def ok(self) -> bool:
        """The guest ended by itself, as it wanted to, with every device still there."""
        good = self.end is End.POWER_OFF or (self.end is End.EXIT and self.code == 0)
        return good and not self.device_errors

    def __repr__(self) -> str:
        return f"<Outcome {self.end.value}: {self.detail}>"
