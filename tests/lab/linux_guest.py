# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests with some of the host's devices, in the test's own process.

A test says what its guest boots (kernel and initrd) by the mark `boots`, and so it is there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from pyvmm.config import parse
from pyvmm.machine import Machine, Outcome
from tests.conftest import ROOT
from tests.lab.guest_images import GUESTS

CONSOLE = "console=ttyS0 quiet panic=-1"
PATIENCE = 600.0
"""Seconds that anything may take, on a machine that is busy."""


def boots(
    *modules: str, kernel: str = f"{GUESTS}-cloud", script: str | None = None
) -> dict[str, object]:
    """What a guest boots: Debian's kernel, modules, and a script of guests/linux or a shell."""
    initrd: dict[str, object] = {"modules": list(modules)}
    if script is not None:
        initrd["script"] = f"guests/linux/{script}"
    return {"kernel": f"debian:{kernel}", "initrd": initrd}


class LinuxVm:
    """A VM, running once start() or passes() is called; close() what is in machine.

    A device is an address, or what the config says of it. parameters are the kernel's, or the
    script's variables.
    """

    def __init__(
        self,
        booted: Mapping[str, object],
        devices: Sequence[str | dict[str, object]],
        parameters: str = "",
        **keys: object,
    ) -> None:
        self.notices: list[str] = []
        listed = [{"host": each} if isinstance(each, str) else each for each in devices]
        config = {
            "memory": "192M",
            **booted,
            "cmdline": f"{CONSOLE} {parameters}".rstrip(),
            "devices": listed,
            **keys,
        }
        self.machine = Machine(parse(config, base=ROOT), self.notices.append)
        self._prompts = itertools.count(1)

    def passes(self) -> list[str]:
        """Run the guest's script to its end; the lines of its report, none of which fails."""
        self.machine.start()
        outcome = self.ends()
        lines = self.machine.console.text.splitlines()
        assert [line for line in lines if "FAIL" in line] == [], "\n".join(lines)
        assert outcome.ok, (outcome, outcome.report, lines)
        assert lines[-1] == "PASS"
        return lines

    def ends(self) -> Outcome:
        """Wait for the guest's end."""
        outcome = self.machine.wait(PATIENCE)
        assert outcome is not None, self.machine.console.text
        return outcome

    def start(self) -> None:
        """Start the guest, up to its shell."""
        self.machine.start()
        self.prompt()

    def prompt(self) -> None:
        """Wait for the shell, and have it say nothing but what it is asked for."""
        self.machine.console.expect(r"guest:/# ", PATIENCE)
        self.machine.console.send("stty -echo; PS1=\n")

    def send(self, command: str) -> None:
        """Have the shell run a command, and don't wait."""
        self.machine.console.send(f"{command}\n", PATIENCE)

    def shell(self, command: str) -> list[str]:
        """Have the shell run a command, which succeeds; the lines that it says."""
        mark = f"<{next(self._prompts)}:"
        self.send(f"echo '{mark}'; {command}\necho \"$?>\"")
        said = self.machine.console.expect(rf"(?s){re.escape(mark)}\r\n.*?[0-9]+>\r\n", PATIENCE)
        *lines, status = said.splitlines()[1:]
        assert status == "0>", said
        return lines


def heard(interrupts: Sequence[str], name: str) -> int:
    """How many interrupts of this name /proc/interrupts has, on all CPUs."""
    (line,) = (line.split() for line in interrupts if line.split()[-1] == name)
    return sum(int(word) for word in itertools.takewhile(str.isdigit, line[1:]))
