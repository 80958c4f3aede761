# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VMs with devices of the lab's, in the test's own process: to start Python takes seconds there."""

from __future__ import annotations

from pathlib import Path

from pyvmm.config import parse
from pyvmm.machine import Machine

LIMIT = 300.0
"""Seconds that a guest has, on a machine that is busy."""


class GuestVm:
    """A VM with a test guest and some of the host's devices; what it has told is in notices.

    A device is an address, or what the config says of it.
    """

    def __init__(
        self, guests: Path, guest: str, *devices: str | dict[str, object], **keys: object
    ) -> None:
        self.notices: list[str] = []
        listed = [{"host": each} if isinstance(each, str) else each for each in devices]
        config = parse(
            {
                "kernel": str(guests / f"{guest}.elf"),
                "devices": listed,
                "timeout": LIMIT,
                **keys,
            }
        )
        self.machine = Machine(config, self.notices.append)

    def run(self) -> list[str]:
        """Run the guest to its end, which is as it wants it to be; the lines of its report."""
        self.machine.start()
        outcome = self.machine.wait()
        assert outcome is not None
        lines = self.machine.console.text.splitlines()
        assert outcome.ok, (outcome, outcome.report, lines)
        assert [line for line in lines if "FAIL" in line] == []
        assert lines[-1] == "PASS"
        return lines
