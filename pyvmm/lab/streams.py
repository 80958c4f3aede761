# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The streams of a command in the lab: between the host's descriptors and QEMU's sockets.

A stream's end can't be told from silence on a virtio-serial port. So the lab sends a token after
the last byte, a random one of that command's own.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import termios

_CHUNK = 1 << 16
NOWHERE = -1
"""In place of a descriptor: there is no input, or the output is dropped."""


class Ending:
    """Finds the token at the end of a stream, and holds back only what may be its beginning."""

    def __init__(self, token: bytes) -> None:
        self.complete = False
        self._token = token
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What is known to be the command's output after data came."""
        if self.complete:
            return b""
        output, found, _ = (self._held + data).partition(self._token)
        self._held = b""
        if found:
            self.complete = True
            return output
        longest = min(len(self._token) - 1, len(output))
        for length in range(longest, 0, -1):
            if output.endswith(self._token[:length]):
                self._held = output[-length:]
                return output[:-length]
        return output

    def cut_off(self) -> bytes:
        """There is no more to come: what was held back was output."""
        self.complete = True
        held, self._held = self._held, b""
        return held


class Output:
    """From a port's socket, which the caller owns, to a descriptor, as fast as that takes it."""

    def __init__(self, sock: socket.socket, target: int, token: bytes) -> None:
        self._sock = sock
        self._target = target
        self._ending = Ending(token)
        self._pending = b""
        self._failed = 0

    @property
    def done(self) -> bool:
        """All of it has been written."""
        return self._ending.complete and not self._pending

    def failed(self) -> int:
        """The errno with which the target has refused more; once, and otherwise 0."""
        failed, self._failed = self._failed, 0
        return failed

    def waits_for(self) -> tuple[int, int] | None:
        """The descriptor, and the events of poll(2), with which it can go on."""
        if self._pending:
            return self._target, select.POLLOUT
        return None if self.done else (self._sock.fileno(), select.POLLIN)

    def go_on(self) -> None:
        if self._pending:
            self._write()
        else:
            output = self._receive()
            self._pending = b"" if self._target == NOWHERE else output

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(_CHUNK)
        except OSError:
            data = b""
        return self._ending.feed(data) if data else self._ending.cut_off()

    def _write(self) -> None:
        try:
            # A pipe of which poll(2) says that it is ready takes so much at once (pipe(7)).
            written = os.write(self._target, self._pending[: select.PIPE_BUF])
            self._pending = self._pending[written:]
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed = error.errno or errno.EIO
            self._target = NOWHERE
            self._pending = b""


class Input:
    """From a descriptor to a port's socket, which the caller owns."""

    def __init__(self, source: int, sock: socket.socket, *, closing: bool) -> None:
        """closing is whether the source's end is to be the port's, which a terminal has not."""
        self.hung_up = False
        """The source is a terminal that is of no use any more: nobody is at its other end."""
        self._source = source
        self._sock = sock
        self._closing = closing
        self._pending = b""
        self._done = False
        if source == NOWHERE:
            self._end()

    def waits_for(self) -> tuple[int, int] | None:
        """The descriptor, and the events of poll(2), with which it can go on."""
        if self._done:
            return None
        if self._pending:
            return self._sock.fileno(), select.POLLOUT
        return self._source, select.POLLIN

    def go_on(self) -> None:
        try:
            if self._pending:
                sent = self._sock.send(self._pending, socket.MSG_DONTWAIT)
                self._pending = self._pending[sent:]
                return
            self._pending = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # That of a session whose leader is gone: nobody will ever have it read again.
            self.hung_up = os.isatty(self._source)
            self._pending = b""
        if not self._pending:
            self.hung_up |= _has_hung_up(self._source)
            self._end()

    def stop(self) -> None:
        """Nobody wants the rest."""
        self._done = True

    def _end(self) -> None:
        self._done = True
        if self._closing:
            # Not close(): at a hang-up, QEMU drops what it hasn't read yet.
            self._sock.shutdown(socket.SHUT_WR)


def _has_hung_up(source: int) -> bool:
    """Whether it is a terminal that has an end, and is asked in vain what it is like."""
    try:
        termios.tcgetattr(source)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
