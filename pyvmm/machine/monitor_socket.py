# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MonitorSocket: the monitor at a UNIX socket, for scripts and for people, one at a time."""

from __future__ import annotations

from .monitor import PROMPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .monitor import Monitor
    from .sink import Sink

_MAX_LINE = 1000


class MonitorSocket:
    """What UnixServer serves: a prompt, and for each line the answer and a prompt again.

    So a script reads up to the next prompt. Nothing is echoed: a terminal does that by itself.
    """

    what = "the monitor's output"

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._begun = b""  # of a line
        self._room: Callable[[], None] = lambda: None

    def begin(self, sink: Sink, room: Callable[[], None]) -> None:
        self._begun = b""
        self._room = room
        sink.write(PROMPT.encode())

    def take(self, sink: Sink, data: bytes) -> int:
        """One line at a time: who sends many is not to hold up the server's end."""
        end = data.find(b"\n") + 1
        if not end:
            self._begun = (self._begun + data)[:_MAX_LINE]
            return len(data)
        line, self._begun = self._begun + data[: end - 1], b""
        answer = self._monitor.execute(line[:_MAX_LINE].decode(errors="replace"))
        sink.write((answer + PROMPT).encode(errors="backslashreplace"))
        self._room()
        return end

    def end(self, sink: Sink, *, gone: bool) -> None:
        sink.close()
