# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Transport: whole messages, with file descriptors, over a connected UNIX stream socket."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ..errors import DeviceError, DeviceGone, ProtocolError
from ..passed_fds import close_passed, close_socket, closes_at_once, crowded
from ..waiting import poll_timeout
from .protocol import (
    F_ERROR,
    HEADER,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    MAX_MSG_FDS,
    command_name,
)

_BUFFER_SIZE = 64 << 10
# What we owe a peer that asks without reading our answers: bytes, and messages, which take more
# memory than their bytes when they are short.
_BACKLOG_LIMIT = 8 * MAX_MESSAGE_SIZE
_QUEUE_LIMIT = 1024
_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_MSG_FDS * array.array("i").itemsize)
# Nothing was sent: the fault is with the fds, not with the connection.
_BAD_FDS = (errno.EBADF, errno.EINVAL, errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS)
# Plain numbers: arithmetic with enum members would take longer than the rest of a receive.
_SEND_FLAGS = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
_RECEIVE_FLAGS = int(socket.MSG_CMSG_CLOEXEC)
_RECEIVE_NOW = int(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
_CTRUNC = int(socket.MSG_CTRUNC)


_TIMEVAL = struct.Struct("@ll")  # seconds, microseconds
FOR_EVER = _TIMEVAL.pack(0, 0)


def pack_timeval(seconds: float) -> bytes:
    """A socket's timeout, never so short that it would be rounded to FOR_EVER."""
    return _TIMEVAL.pack(*divmod(max(1, round(seconds * 1e6)), 1_000_000))


class Message:
    """A received message. It owns its fds, until they are taken or it is closed."""

    __slots__ = ("command", "error", "fds", "fds_lost", "flags", "id", "oversized", "payload")

    def __init__(self, id: int, command: int, flags: int, error: int, payload: bytes) -> None:
        self.id = id
        self.command = command
        self.flags = flags
        self.error = error
        self.payload = payload
        self.fds: list[int] = []
        self.fds_lost = False
        """More fds were sent than we have room for."""
        self.oversized = False
        """It was longer than any message may be, and is skipped: there is no payload."""

    @property
    def failed(self) -> bool:
        """It is an error reply; error is the errno, which may be 0."""
        return bool(self.flags & F_ERROR)

    def take_fds(self) -> list[int]:
        """The fds, which become the caller's to close."""
        fds, self.fds = self.fds, []
        return fds

    def close(self) -> None:
        close_passed(self.take_fds())


class Transport:
    """Sends and receives messages; owns the socket.

    send() may be called by any thread, and never blocks: what the socket doesn't take at
    once waits in a queue, for flush() or for the reader, who empties it while it waits for
    input. So a peer that sends before it reads can't deadlock with us. receive() is for one
    thread at a time, the reader, and blocks as long as its patience lasts. Errors: DeviceGone
    when the connection ended, ProtocolError when the stream makes no sense any more.
    """

    def __init__(self, sock: socket.socket, peer: str, patience: float | None) -> None:
        """Take over a socket; patience is how many seconds receive() waits, None for ever."""
        self._sock = sock
        self._peer = peer
        sock.setblocking(True)
        self.patience = patience
        self.refused = 0
        """the command that the last message was an error reply to, for nonsense()"""
        self._send_lock = threading.Lock()
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._backlog = 0
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._start = 0  # what is received but not yet a message: buffer[start:end]
        self._end = 0
        self._position = 0  # of buffer[start] in the stream
        self._skip_to = 0  # the position up to which an oversized message is thrown away
        # (position they came up to, fds, whether more were lost), for messages to come
        self._fds: list[tuple[int, list[int], bool]] = []

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def patience(self) -> float | None:
        """How many seconds receive() waits for something; None for ever."""
        return self._patience

    @patience.setter
    def patience(self, patience: float | None) -> None:
        self._patience = patience
        # The kernel's own timeout saves the poll(2) that settimeout() makes before each call.
        timeval = FOR_EVER if patience is None else pack_timeval(patience)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)

    # Sending

    def send(
        self,
        message: bytes,
        fds: Sequence[int] = (),
        check: Callable[[], None] | None = None,
    ) -> bool:
        """Send header and payload, with copies of fds, in one piece; False if some must wait.

        Raises DeviceError, with nothing sent, if the fds can't be; and whatever check raises,
        which is called when this message is next.
        """
        with self._send_lock:
            if check:
                check()
            sent = 0
            try:
                if not self._queue:
                    sent = self._try_send(message, fds)
                    if sent == len(message):
                        return True
                # The queue outlives the call, so it needs fds of its own.
                waiting = [] if sent else _duplicate(fds)
            except OSError as e:
                if fds and e.errno in _BAD_FDS:
                    what = f"passing fds {', '.join(map(str, fds))} to {self._peer}"
                    raise DeviceError.answered(what, e.errno) from None
                raise self._hung_up() from None
            self._queue.append((memoryview(message)[sent:], waiting))
            self._backlog += len(message) - sent
            return False

    def _try_send(self, data: bytes | memoryview, fds: Sequence[int]) -> int:
        try:
            if fds:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
                return self._sock.sendmsg((data,), (rights,), _SEND_FLAGS)
            return self._sock.send(data, _SEND_FLAGS)
        except BlockingIOError:
            return 0

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be sent, nor of what was received to be handled."""
        return not (self._end or self._backlog)

    @property
    def partial(self) -> bool:
        """Whether only a part of the next message has been received."""
        return self._end > 0 and not self.congested

    @property
    def backlog(self) -> int:
        """How many bytes wait to be sent."""
        return self._backlog

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that nothing more is to be answered."""
        return self._backlog >= _BACKLOG_LIMIT or len(self._queue) >= _QUEUE_LIMIT

    def _push(self) -> None:
        """Send of the queue what the socket takes."""
        with self._send_lock:
            while self._queue:
                data, fds = self._queue[0]
                try:
                    sent = self._try_send(data, fds)
                except OSError:
                    raise self._hung_up() from None
                if not sent:
                    return
                for fd in fds:
                    os.close(fd)
                self._backlog -= sent
                if sent == len(data):
                    self._queue.popleft()
                else:
                    self._queue[0] = (data[sent:], [])

    def flush(self, deadline: float) -> bool:
        """Wait until all is sent; False if it isn't at the deadline (of time.monotonic())."""
        while self._backlog:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait(select.POLLOUT, left)
            self._push()
        return True

    def _wait(self, events: int, timeout: float | None) -> int:
        poll = select.poll()
        poll.register(self._sock, events)
        ready = poll.poll(poll_timeout(timeout))
        return ready[0][1] if ready else 0

    # Receiving

    def receive(self, wait: bool = True) -> Message | None:
        """The next message, if it is whole after at most one read of the socket.

        None if nothing came (within its patience, if it is to wait) or only a part: so that
        the caller can look at the time, however slowly a peer sends.
        """
        if self._backlog and self.congested:
            # A peer that only asks is not listened to until it takes our answers.
            if wait:
                self._wait(select.POLLOUT, self._patience)
            self._push()
            if self.congested:
                return None
        message = self.buffered() if self._end else None
        if message is not None:
            return message
        flags = _RECEIVE_FLAGS if wait else _RECEIVE_NOW
        if self._backlog:
            self._push()
        if self._backlog and wait:
            events = select.POLLIN | select.POLLOUT
            if not self._wait(events, self._patience) & ~select.POLLOUT:
                return None
            flags = _RECEIVE_NOW
        return self._fill(flags)

    def buffered(self) -> Message | None:
        """A message that has been received already, if it is whole and may be answered now."""
        if self._backlog and self.congested:
            return None
        if self._skip_to:
            self._skip()
        start = self._start
        have = self._end - start
        if have < HEADER_SIZE or self._skip_to:
            return None
        id, command, size, flags, error = HEADER.unpack_from(self._buffer, start)
        if HEADER_SIZE <= size <= have:
            payload = self._buffer[start + HEADER_SIZE : start + size].tobytes()
            message = Message(id, command, flags, error, payload)
            self._consume(size)
            if self._fds:
                for fds, lost in self._fds_until(self._position):
                    message.fds += fds
                    message.fds_lost |= lost
            return message
        if size < HEADER_SIZE:
            raise self.nonsense(f"a message of {size} bytes, less than its header")
        if size > MAX_MESSAGE_SIZE:
            message = Message(id, command, flags, error, b"")
            message.oversized = True
            self._skip_to = self._position + size
            self._skip()
            return message
        if len(self._buffer) < size:
            larger = memoryview(bytearray(size))
            larger[:have] = self._buffer[start : self._end]
            self._buffer, self._start, self._end = larger, 0, have
        return None

    def _consume(self, size: int) -> None:
        self._start += size
        self._position += size
        if self._start == self._end:
            self._start = self._end = 0

    def _skip(self) -> None:
        self._consume(min(self._skip_to - self._position, self._end - self._start))
        if self._position == self._skip_to:
            self._skip_to = 0
        for fds, _ in self._fds_until(self._position):
            close_passed(fds)

    def _fds_until(self, position: int) -> list[tuple[list[int], bool]]:
        """Take the fds, and whether some were lost, that came up to a position."""
        came = []
        while self._fds and self._fds[0][0] <= position:
            came.append(self._fds.pop(0)[1:])
        return came

    def _fill(self, flags: int) -> Message | None:
        """Read once from the socket; the message that is whole then, if one is."""
        if self._start and len(self._buffer) - self._end < HEADER_SIZE:
            left = self._end - self._start
            self._buffer[:left] = self._buffer[self._start : self._end].tobytes()
            self._start, self._end = 0, left
        end = self._end
        buffer = self._buffer
        try:
            size, ancillary, happened, _ = self._sock.recvmsg_into(
                (buffer[end:] if end else buffer,), _ANCILLARY_SIZE, flags
            )
        except BlockingIOError:
            return None
        except OSError:
            raise self._hung_up() from None
        if size >= HEADER_SIZE and not (end or ancillary or happened & _CTRUNC or self._skip_to):
            id, command, length, header_flags, error = HEADER.unpack_from(buffer)
            if length == size and not self._fds:
                # Just one message, as nearly always: it is there, and not to be kept account of.
                self._position += size
                payload = buffer[HEADER_SIZE:size].tobytes()
                return Message(id, command, header_flags, error, payload)
        self._end = end + size
        if ancillary or happened & _CTRUNC:
            self._receive_fds(ancillary, bool(happened & _CTRUNC))
        if not size:
            raise self._hung_up()
        return self.buffered()

    def _receive_fds(self, ancillary: list[tuple[int, int, bytes]], lost: bool) -> None:
        """Keep fds for the message they belong to: the last one of what was just read.

        Linux ends a read behind the data that fds were sent with, so nothing after can be in
        it; and a peer's message, sent on its own, begins where the data of a send begins.
        """
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if crowded() and not all(map(closes_at_once, fds)):
            close_passed(fds)
            raise ProtocolError(f"{self._peer} sent fds, while too many others can't be closed")
        # All that waits here is of one unfinished message.
        if len(fds) + sum(len(waiting) for _, waiting, _ in self._fds) > MAX_MSG_FDS:
            close_passed(fds)
            fds, lost = array.array("i"), True
            if self._fds and self._fds[-1][2] and not self._fds[-1][1]:
                self._fds.pop()  # it says the same, of the same message
        self._fds.append((self._position + self._end - self._start, fds.tolist(), lost))

    def nonsense(self, what: str) -> ProtocolError:
        """The error for a message that can't have been meant."""
        if self.refused:
            refused = command_name(self.refused)
            what += f", after it refused {refused}: it seems to have read only a part of that"
        return ProtocolError(f"{self._peer} sent {what}")

    def _hung_up(self) -> DeviceGone:
        where = " in the middle of a message" if self._end > self._start else ""
        return DeviceGone(f"{self._peer} hung up{where}")

    def shutdown(self) -> None:
        """End the connection; a thread that waits in receive() or flush() returns."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let everything go. Nobody may be in another method. Idempotent."""
        close_socket(self._sock)
        for _, fds in self._queue:
            _close_all(fds)
        for _, fds, _ in self._fds:
            close_passed(fds)
        self._queue.clear()
        self._fds.clear()


def _duplicate(fds: Iterable[int]) -> list[int]:
    copies: list[int] = []
    try:
        copies.extend(os.dup(fd) for fd in fds)
    except OSError:
        _close_all(copies)
        raise
    return copies


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
