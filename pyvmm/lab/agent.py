# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Agent: the host's end of the talk with the lab's init.sh, lines of words over a socket."""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING

from .errors import LabError
from .mailbox import Mailbox

if TYPE_CHECKING:
    import socket
    from pathlib import Path

Words = tuple[str, ...]

_PATIENCE = 60.0
_BOOT_PATIENCE = 180.0


class Agent:
    """A context manager; from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._box: Mailbox[Words] = Mailbox(sock, _words, "the lab's agent")

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._box.close()

    @property
    def box(self) -> Mailbox[Words]:
        return self._box

    def ready(self) -> None:
        """Wait until the lab's kernel has booted as far as a snapshot holds it."""
        self._await("ready", "", _BOOT_PATIENCE)

    def start(self, modules: Path) -> None:
        """Have the host's files mounted; modules is to be /lib/modules/RELEASE."""
        now = math.ceil(time.time())  # files made just now aren't of the future
        self._send("start", str(now), secrets.token_hex(32), str(modules))
        self._await("started", "", _PATIENCE, failing="start")

    def bind(self, name: str, address: str, count: int) -> Words:
        """Give the count devices behind the root port at address to vfio-pci, once they are
        there. Returns their addresses. name is for messages, one word.
        """
        self._send("bind", name, address, str(count))
        return self._await("bound", name, _PATIENCE, failing=name)

    def job(self, name: str, kind: str, token: str, script: bytes) -> None:
        """Run a shell script; kind is "streams" or "terminal", token ends its output."""
        header = f"job {name} {kind} {token} {len(script)}\n".encode()
        self._box.send(header + script)

    def signal(self, job: str, group: str, number: int) -> None:
        """Send a signal to the process group of a job."""
        self._send("signal", group, str(number), job)

    def size(self, job: str, rows: int, columns: int) -> None:
        """Tell a job's terminal how large it is."""
        self._send("size", job, str(rows), str(columns))

    def _send(self, *words: str) -> None:
        self._box.send(" ".join(words).encode() + b"\n")

    def _await(self, verb: str, name: str, seconds: float, failing: str = "") -> Words:
        def fits(words: Words) -> Words | None:
            if words[0] == "failed" and words[1] == failing:
                return words
            return words if words[0] == verb and (not name or words[1] == name) else None

        words = self._box.wait(fits, seconds, f"answer {verb!r}")
        if words[0] == "failed":
            raise LabError(f"the lab's agent: {' '.join(words[2:])}")
        return words[2:] if name else words[1:]


def _words(line: bytes) -> Words | None:
    return tuple(line.decode(errors="replace").split()) or None
