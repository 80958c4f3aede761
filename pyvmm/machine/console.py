# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Console: the host's end of the guest's serial line, for scripts, tests and sinks."""

from __future__ import annotations

import threading
from time import monotonic, sleep

from .errors import ConsoleEnded, ConsoleTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Protocol

    class Output(Protocol):
        """What takes a guest's output: a Sink, mostly. Neither may block for long, nor raise."""

        def write(self, data: bytes, /) -> None: ...

        def close(self) -> None: ...

    Pattern = str | bytes | re.Pattern[str] | re.Pattern[bytes]

LIMIT = 1 << 20
"""Bytes of output that are remembered; older ones are forgotten."""

_LINES_IN_ERRORS = 8
# After each search in vain but the first, so that a chatty guest, a byte at a time, isn't slowed.
_PAUSE = 0.002


class Console:
    """Remembers what the guest said, hands it to sinks, and sends it input. Safe from any thread.

    expect() and read_line() each go on where the last one of them ended, as pexpect does.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._changed = threading.Condition()
        self._limit = limit
        self._seen = bytearray()
        self._said = 0  # bytes in all
        self._rooms = 0  # calls of room()
        self._position = 0  # in _seen: where the next expect() starts
        self._ended = False
        self._how = ""
        self._sinks: list[Output] = []
        self._receive: Callable[[bytes], int] | None = None
        self.on_room: Callable[[], None] | None = None

    # -- the machine's side -------------------------------------------------------------------

    def output(self, data: bytes) -> None:
        """The guest has sent data. Neither blocks nor raises."""
        with self._changed:
            seen = self._seen
            seen += data
            self._said += len(data)
            # Twice the limit, so that old bytes are moved out rarely.
            if len(seen) > 2 * self._limit:
                old = len(seen) - self._limit
                del seen[:old]
                self._position = max(0, self._position - old)
            self._changed.notify_all()
            for sink in self._sinks:
                sink.write(data)

    def connect(self, receive: Callable[[bytes], int]) -> None:
        """Send input by receive(data), which returns how many bytes it took."""
        self._receive = receive
        self.room()

    def room(self) -> None:
        """receive(), having taken less than it was given, may be tried again."""
        with self._changed:
            self._rooms += 1
            self._changed.notify_all()
        on_room = self.on_room
        if on_room is not None:
            on_room()

    def ended(self, how: str = "") -> None:
        """The guest runs no more: nobody need wait any longer. how is for those who do."""
        with self._changed:
            if not self._ended:
                self._how = f" ({how})" if how else ""
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write out and close the sinks. What was seen stays. Idempotent."""
        self.ended()
        with self._changed:
            sinks, self._sinks = self._sinks, []
        for sink in sinks:
            sink.close()

    # -- both ways ----------------------------------------------------------------------------

    def attach(self, sink: Output) -> None:
        """Give sink all output from now on, and close it in the end."""
        with self._changed:
            self._sinks.append(sink)

    def detach(self, sink: Output) -> bool:
        """Give it no more; it is the caller's again. False if it has been closed already."""
        with self._changed:
            if sink not in self._sinks:
                return False
            self._sinks.remove(sink)
            return True

    def offer(self, data: bytes) -> int:
        """Send input without waiting; returns how many bytes were taken.

        on_room is called when one that could not take all may be tried again.
        """
        return 0 if self._receive is None or self._ended else self._receive(data)

    # -- scripts ------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All that the guest has said, or the last MiB of it."""
        with self._changed:
            return _decode(self._seen[-self._limit :])

    def expect(self, pattern: Pattern, timeout: float = 10) -> str:
        """Wait until the guest has said what matches the regular expression; returns the match.

        Raises ConsoleTimeout after timeout seconds, and ConsoleEnded as soon as the guest has
        ended without; both show the last lines seen.
        """
        compiled = _bytes_pattern(pattern)

        def search() -> str | None:
            match: re.Match[bytes] | None = compiled.search(self._seen, self._position)
            if match is None:
                return None
            self._position = match.end()
            return _decode(match[0])

        return self._wait_for(search, timeout, f"what matches {_decode(compiled.pattern)!r}")

    def read_line(self, timeout: float = 10) -> str:
        """Wait for the next whole line; returns it without its end.

        Raises ConsoleTimeout and ConsoleEnded as expect() does.
        """

        def search() -> str | None:
            end = self._seen.find(b"\n", self._position)
            if end < 0:
                return None
            line = self._seen[self._position : end]
            self._position = end + 1
            return _decode(line).rstrip("\r")

        return self._wait_for(search, timeout, "a whole line")

    def send(self, data: str | bytes, timeout: float = 10) -> None:
        """Send input to the guest; returns when its serial port has taken all of it.

        Raises ConsoleTimeout if it has not after timeout seconds, ConsoleEnded if the guest ends
        before.
        """
        rest = data.encode() if isinstance(data, str) else data
        size = len(rest)
        deadline = monotonic() + timeout
        while True:
            rooms = self._rooms
            rest = rest[self.offer(rest) :]
            if not rest:
                return
            taken = f"took {size - len(rest)} of {size} bytes of input"
            with self._changed:
                while self._rooms == rooms:
                    if self._ended:
                        raise ConsoleEnded(f"the guest has ended{self._how}; it {taken}")
                    left = deadline - monotonic()
                    if left <= 0:
                        raise ConsoleTimeout(f"within {timeout:g} s, the guest {taken}")
                    self._changed.wait(left)

    def _wait_for(self, search: Callable[[], str | None], timeout: float, what: str) -> str:
        deadline = monotonic() + timeout
        searched = -1
        pause = 0.0
        while True:
            with self._changed:
                while searched == self._said and not self._ended:
                    left = deadline - monotonic()
                    if left <= 0:
                        raise ConsoleTimeout(
                            f"within {timeout:g} s, the guest has not said {what}; {self._tail()}"
                        )
                    self._changed.wait(left)
                searched = self._said
                found = search()
                if found is not None:
                    return found
                if self._ended:
                    raise ConsoleEnded(
                        f"the guest has ended without saying {what}{self._how}; {self._tail()}"
                    )
            sleep(pause)
            pause = _PAUSE

    def _tail(self) -> str:
        lines = _decode(self._seen[-4096:]).splitlines()[-_LINES_IN_ERRORS:]
        if not lines:
            return "it has said nothing"
        return "the last it said:\n" + "\n".join(f"  {line}" for line in lines)


def _bytes_pattern(pattern: Pattern) -> re.Pattern[bytes]:
    import re

    if isinstance(pattern, bytes):
        return re.compile(pattern)
    if isinstance(pattern, str):
        return re.compile(pattern.encode())
    if isinstance(pattern.pattern, str):
        return re.compile(pattern.pattern.encode(), pattern.flags & ~re.UNICODE)
    return pattern


def _decode(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
