# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Qmp: QEMU's machine protocol (docs/interop/qmp-spec.rst of QEMU) over a connected socket."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from .errors import QmpError
from .mailbox import Mailbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

Message = dict[str, Any]

_PATIENCE = 60.0


class Qmp:
    """Commands and events. A context manager; from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._numbers = itertools.count(1)
        self._box: Mailbox[Message] = Mailbox(sock, _parse, "QEMU's monitor")

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._box.close()

    def greet(self, seconds: float = _PATIENCE) -> None:
        """What has to come before everything else."""
        self._box.wait(lambda message: message.get("QMP"), seconds, "greeting")
        self.execute("qmp_capabilities")

    def execute(
        self,
        command: str,
        arguments: Message | None = None,
        *,
        fds: tuple[int, ...] = (),
        seconds: float = _PATIENCE,
    ) -> Any:
        """Have QEMU do it, and return what it answers. Raises QmpError, LabEnded, LabSilent."""
        number = next(self._numbers)
        request = {"execute": command, "arguments": arguments or {}, "id": number}
        self._box.send(json.dumps(request).encode() + b"\n", fds)
        answer = self._box.wait(
            lambda message: message if message.get("id") == number else None,
            seconds,
            f"answer to {command}",
        )
        if "error" in answer:
            raise QmpError(f"QEMU: {command}: {answer['error'].get('desc', 'no reason given')}")
        return answer.get("return")

    def event(
        self,
        name: str,
        fits: Callable[[Message], bool] = lambda _: True,
        *,
        seconds: float = _PATIENCE,
    ) -> Message:
        """The data of the first such event, once it has come."""

        def matching(message: Message) -> Message | None:
            data: Message = message.get("data", {})
            return data if message.get("event") == name and fits(data) else None

        return self._box.wait(matching, seconds, f"event {name}")


def _parse(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
