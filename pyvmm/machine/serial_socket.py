# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""SerialSocket: the serial line at a UNIX socket, for one client at a time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .console import Console
    from .sink import Sink


class SerialSocket:
    """What UnixServer serves: the guest's output from when a client comes, and its input.

    The line stays up while nobody is there: what the guest says then, this client won't see.
    """

    what = "serial output"

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, sink: Sink, room: Callable[[], None]) -> None:
        self._console.on_room = room
        self._console.attach(sink)

    def take(self, _sink: Sink, data: bytes) -> int:
        return self._console.offer(data)

    def end(self, sink: Sink, *, gone: bool) -> None:
        self._console.on_room = None
        # Else the console has it, and writes out what is left.
        if gone and self._console.detach(sink):
            sink.close()
