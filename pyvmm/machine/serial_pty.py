# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""SerialPty: the serial line as a pseudo-terminal, for screen, minicom and the like."""

from __future__ import annotations

import os
import select
from errno import EMFILE, ENOSPC
from time import monotonic, sleep

from pyvmm.uapi.ioctl import failure

from .errors import ConsoleError
from .input_forwarder import InputForwarder
from .sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .console import Console

_CURES = {
    EMFILE: "raise the limit on open files (ulimit -n)",
    ENOSPC: "this host has no pseudo-terminal left (/proc/sys/kernel/pty/max)",
}

# Seconds that whoever has it open may take to read what came last; how often that is looked at;
# and for how long nothing has to be there, since the kernel takes its time to bring it.
_PATIENCE = 2.0
_PAUSE = 0.01
_QUIET = 0.1


class SerialPty:
    """A context manager, for as long as input is wanted; name is the path to open.

    We have the other end open too, so that the line stays up when a reader goes, and is raw from
    the start. The console closes it, after the last output: one of its sinks.
    """

    def __init__(self, console: Console, notice: Callable[[str], None]) -> None:
        """Raises ConsoleError."""
        import tty

        self._console = console
        try:
            self._master, self._slave = os.openpty()
        except OSError as error:
            number = error.errno or 0
            what = failure("opening a pseudo-terminal", "openpty", number, _CURES.get(number, ""))
            raise ConsoleError(what) from None
        self.name = os.ttyname(self._slave)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        # Ours to close, and not to be opened once more: that would be another terminal.
        self._sink = Sink(os.dup(self._master), self.name, notice, owned=True)
        try:
            self._forwarder = InputForwarder(self._master, console.offer)
        except ConsoleError:
            self._sink.close()
            os.close(self._slave)
            os.close(self._master)
            raise

    def __enter__(self) -> SerialPty:
        self._console.attach(self)
        self._console.on_room = self._forwarder.room
        self._forwarder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._console.on_room = None
        self._forwarder.close()

    # -- as a sink --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._sink.write(data)

    def close(self) -> None:
        """Write out the backlog, let whoever has it open read that, and close it. Idempotent."""
        if self._master < 0:
            return
        self._forwarder.close()
        self._sink.close()
        if self._is_open():
            self._wait_until_read()
            os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def _wait_until_read(self) -> None:
        """What is unread when the master closes is lost."""
        read_at = now = monotonic()
        deadline = now + _PATIENCE
        while now < min(deadline, read_at + _QUIET):
            sleep(_PAUSE)
            now = monotonic()
            if self._unread():
                read_at = now

    def _is_open(self) -> bool:
        """Whether somebody else has the other end open; if not, ours is closed too."""
        os.close(self._slave)
        poll = select.poll()
        poll.register(self._master, 0)
        if poll.poll(0):
            return False
        try:
            self._slave = os.open(self.name, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _unread(self) -> int:
        """Bytes of output that nobody has read yet."""
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4)), "little")
