# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Channel: commands in both directions over one transport, without a thread of its own.

Whoever waits for a reply reads the socket himself, and handles whatever else arrives meanwhile:
so a call is one send and one receive, without a change of threads. There is one reader at a
time. Other callers sleep until the reader has their reply, or leaves and makes one of them the
reader. Client and server differ only in who reads when there is no call: see idle() and serve().
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import DeviceError, DeviceGone, DeviceSilent, ProtocolError, VfioError
from ..passed_fds import close_passed
from .answer import Handler, Reply, answer, pack_reply
from .pending_calls import Call, PendingCalls
from .protocol import (
    F_NO_REPLY,
    F_TYPE_COMMAND,
    F_TYPE_MASK,
    F_TYPE_REPLY,
    HEADER,
    HEADER_SIZE,
    command_name,
)
from .transport import Message, Transport

DEFAULT_TIMEOUT = 5.0
# Seconds, in which a process that has ended loses all its sockets.
_LAST_WORDS = 0.5


class Watch(Protocol):
    """Watches the socket between calls. Called with a lock held: no calling back."""

    def busy(self) -> None:
        """A caller begins to read the socket."""

    def idle(self) -> None:
        """Nobody reads the socket any more."""


class Channel:
    """Calls the peer and answers its calls. Safe to use from any thread.

    Replies are matched to calls by message id. A peer that breaks the protocol, does not
    answer in time or hangs up is gone for good: on_gone is called, once, and every call,
    present and future, raises.
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        handler: Handler,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        on_gone: Callable[[VfioError], None] | None = None,
    ) -> None:
        """Take over a connected socket; `peer` names the other side in messages.

        timeout is in seconds, for each reply.
        """
        self.peer = peer
        self.timeout = timeout
        self._handler = handler
        self._patience = min(timeout / 8, 0.5)  # how late a missing answer may be noticed
        self._transport = Transport(sock, peer, self._patience)
        self._on_gone = on_gone
        self._watch: Watch | None = None
        self._lock = threading.Lock()
        self._calls = PendingCalls()
        self._last_id = 0
        self._reader = 0  # the thread that reads, 0 if none does
        self._users = 0  # threads that may touch the transport
        self._posted = False  # whether post() was ever called
        self._gone: VfioError | None = None
        self._closed = False
        self._pid = os.getpid()

    def fileno(self) -> int:
        return self._transport.fileno()

    def watched_by(self, watch: Watch) -> None:
        """Have somebody told of when to watch for input, in order to call idle()."""
        self._watch = watch

    @property
    def gone(self) -> VfioError | None:
        """Why there is no talking to the peer any more."""
        return self._gone

    # Calling

    def call(
        self,
        command: int,
        payload: bytes,
        fds: Sequence[int] = (),
        *,
        timeout: float | None = None,
        max_fds: int = 0,
        check: Callable[[], None] | None = None,
    ) -> Message:
        """Send a command and wait for its reply, which may be an error reply (failed).

        check is called when it is next to be sent, and may still raise DeviceError. timeout is in
        seconds, from when the peer can begin: it carries out commands one after the other, so those
        that are outstanding have their own first.

        Raises DeviceGone (DeviceSilent for no answer in time); DeviceError if fds can't be
        sent or taken, and (EDEADLK) to a handler.
        """
        if timeout is None:
            timeout = self.timeout
        thread = threading.get_ident()
        transport = self._transport
        now = time.monotonic()
        with self._lock:
            if self._gone:
                self._check_gone()
            if self._reader == thread:
                # Reading on from here would have handlers run inside each other, whatever
                # they hold; and QEMU serves no DMA while it waits for the answer we owe.
                raise DeviceError.answered(
                    f"{self.peer}: {command_name(command)} while handling a command",
                    errno.EDEADLK,
                    "do it on another thread",
                )
            self._users += 1
            id = self._next_id()
            call = Call(command, thread, timeout, now)
            deadline = self._calls.add(id, call)
            if not self._reader:
                self._reader = thread
                if self._watch:
                    self._watch.busy()
            else:
                call.wake = threading.Lock()
                call.wake.acquire()
        try:
            header = HEADER.pack(id, command, HEADER_SIZE + len(payload), 0, 0)
            sent = transport.send(header + payload, fds, check)
            if call.wake:
                if not sent and not transport.flush(deadline):
                    raise self._no_answer(call, deadline)
                self._sleep(call)
            while call.reply is None:
                message = transport.receive()
                if message is not None:
                    self._dispatch(message)
                if self._gone:
                    self._check_gone()
                if call.reply is None and (message is None or time.monotonic() >= deadline):
                    deadline = self._still_waits(call)
        except BaseException as e:
            if not isinstance(e, DeviceError):
                self.fail(e if isinstance(e, VfioError) else self._interrupted(command))
            with self._lock:
                self._calls.remove(id)
            if call.reply:  # it came too late for us
                call.reply.close()
            if isinstance(e, DeviceGone) and e is not self._gone:
                self._check_gone()  # what came first is the cause
            raise
        finally:
            self._leave()
        reply = call.reply
        assert reply is not None
        if reply.fds_lost:
            reply.close()
            raise DeviceError.answered(
                f"{self.peer}: taking the fds of the reply to {command_name(command)}",
                errno.EMFILE,
                "raise the limit of open files (ulimit -n)",
            )
        if len(reply.fds) > max_fds:
            count = len(reply.fds)
            reply.close()
            raise self.lied(command, f"{count} fds, where {max_fds} can be used")
        return reply

    def post(self, command: int, payload: bytes) -> None:
        """Send a command that wants no reply, and wait only until it is on its way.

        What is called after it comes after it. Raises DeviceGone (DeviceSilent, if the peer
        doesn't read it in time).
        """
        with self._lock:
            self._check_gone()
            self._users += 1
            self._posted = True
            id = self._next_id()
            now = time.monotonic()
            deadline = self._calls.deadline_behind(now, self.timeout)
        try:
            header = HEADER.pack(id, command, HEADER_SIZE + len(payload), F_NO_REPLY, 0)
            # Nobody else would send the rest, until there is something else to send.
            if not self._transport.send(header + payload) and not self._transport.flush(deadline):
                seconds = round(deadline - now, 3)
                raise DeviceSilent(
                    f"{self.peer} did not take {command_name(command)} within {seconds:g} s"
                )
        except BaseException as e:
            self.fail(e if isinstance(e, VfioError) else self._interrupted(command))
            raise
        finally:
            with self._lock:
                self._users -= 1
                if self._closed and not self._users:
                    self._transport.close()

    def _next_id(self) -> int:
        id = (self._last_id + 1) & 0xFFFF
        while id in self._calls:
            id = (id + 1) & 0xFFFF
        self._last_id = id
        return id

    def lied(self, command: int, what: str) -> ProtocolError:
        """The error for a reply that can't be true, which also ends the connection."""
        error = ProtocolError(f"{self.peer}: reply to {command_name(command)} with {what}")
        self.fail(error)
        return error

    def _sleep(self, call: Call) -> None:
        """Wait for the reply, or to become the reader."""
        assert call.wake
        while call.reply is None and self._reader != call.thread:
            left = self._still_waits(call) - time.monotonic()
            call.wake.acquire(timeout=max(0.0, left))
            self._check_gone()

    def _still_waits(self, call: Call) -> float:
        """Until when the reply may come yet. Raises DeviceSilent if it may no more."""
        with self._lock:
            deadline = self._calls.deadline(call)
        if call.reply is None and time.monotonic() >= deadline:
            raise self._no_answer(call, deadline)
        return deadline

    def _no_answer(self, call: Call, deadline: float) -> DeviceSilent:
        seconds = round(deadline - call.sent, 3)
        return DeviceSilent(
            f"{self.peer} did not answer {command_name(call.command)} within {seconds:g} s"
        )

    def _interrupted(self, command: int) -> DeviceGone:
        return DeviceGone(f"{self.peer}: interrupted while waiting for {command_name(command)}")

    # Reading

    def serve(self, handshake: Callable[[], bool]) -> None:
        """Be the reader until the peer is gone, or handshake() isn't true in time."""
        deadline = time.monotonic() + self.timeout
        greeted = False
        # When the first part came of a message that isn't whole yet, or when the peer last took
        # some of all too many answers that wait for it; 0 if it isn't so.
        since, owed = 0.0, 0
        with self._lock:
            if self._gone:
                return
            self._users += 1
            self._reader = threading.get_ident()
        try:
            while not self._gone:
                message = self._transport.receive()
                if message is not None:
                    self._dispatch(message)
                if not greeted:
                    greeted = handshake()
                    if greeted:
                        self._transport.patience = None
                    elif time.monotonic() >= deadline:
                        raise ProtocolError(f"{self.peer} did not say VFIO_USER_VERSION in time")
                elif self._transport.partial or self._transport.congested:
                    # A peer may be silent, but not in the midst of a message, nor deaf while it
                    # asks: others wait for it.
                    backlog = self._transport.backlog
                    if message is not None or not since or backlog < owed:
                        since, owed = time.monotonic(), backlog
                        if self._transport.patience is None:
                            self._transport.patience = self._patience
                    elif time.monotonic() >= since + self.timeout:
                        if self._transport.congested:
                            raise DeviceSilent(f"{self.peer} does not read what it asked for")
                        raise ProtocolError(f"{self.peer} did not send a message's rest in time")
                elif since:
                    since = 0.0
                    self._transport.patience = None
        except VfioError as e:
            self.fail(e)
        finally:
            self._leave()

    def idle(self) -> bool:
        """Handle what has arrived, unless somebody reads already; False when the peer is gone."""
        with self._lock:
            if self._gone:
                return False
            if self._reader:
                return True
            self._users += 1
            self._reader = threading.get_ident()
        try:
            while True:
                message = self._transport.receive(wait=self._transport.backlog > 0)
                if message is not None:
                    self._dispatch(message)
                elif not self._transport.backlog:
                    break
        except VfioError as e:
            self.fail(e)
        finally:
            self._leave()
        return self._gone is None

    def _leave(self) -> None:
        """Stop using the transport; if this is the reader, let another caller read.

        A reader first handles all that it has received, which no poll of the socket shows
        to the next, and sends all that it owes.
        """
        thread = threading.get_ident()
        if self._reader == thread and not self._transport.quiet:
            self._tidy()
        with self._lock:
            self._users -= 1
            if self._reader == thread:
                waiting = self._calls.sleeper()
                self._reader = waiting.thread if waiting else 0
                if waiting:
                    waiting.awake()
                elif self._watch and not self._gone:
                    self._watch.idle()
            if self._closed and not self._users:
                self._transport.close()

    def _tidy(self) -> None:
        deadline = time.monotonic() + self.timeout
        try:
            while not self._gone:
                message = self._transport.buffered()
                if message is None:
                    if not self._transport.backlog:
                        return
                    if time.monotonic() >= deadline:
                        raise DeviceSilent(f"{self.peer} does not read what it asked for")
                    message = self._transport.receive()
                if message is not None:
                    self._dispatch(message)
        except VfioError as e:
            self.fail(e)

    def _dispatch(self, message: Message) -> None:
        kind = message.flags & F_TYPE_MASK
        if kind == F_TYPE_COMMAND:
            self._transport.refused = 0
            self._answer(message)
            return
        well_formed = kind == F_TYPE_REPLY and not message.oversized
        with self._lock:
            call = self._calls.get(message.id)
            if call and well_formed and call.command == message.command:
                self._calls.remove(message.id)
                call.reply = message
                self._transport.refused = message.command if message.failed else 0
                call.awake()
                return
        message.close()
        if self._gone:
            return
        name = command_name(message.command)
        if message.oversized:
            raise self._transport.nonsense(f"a message ({name}) that is longer than any may be")
        if call is None or not well_formed:
            what = f"{name}, type {message.flags:#x}, id {message.id}"
            error = self._transport.nonsense(f"a message ({what}) that nothing asked for")
            if self._posted:
                error.cure = "if it answers what wants no reply, do without posted writes"
            raise error
        raise self._transport.nonsense(f"{name} in answer to {command_name(call.command)}")

    # Answering

    def _answer(self, message: Message) -> None:
        reply: bytes | Reply | int = 0
        try:
            reply = answer(message, self._handler, self.peer)
            if not message.flags & F_NO_REPLY:
                try:
                    self._transport.send(*pack_reply(message, reply))
                except DeviceError as e:
                    self._transport.send(*pack_reply(message, e.errno))
        finally:
            if message.fds:
                message.close()
            if isinstance(reply, Reply) and reply.given_away:
                close_passed(reply.fds)

    # Ending

    def _check_gone(self) -> None:
        if self._gone:
            raise DeviceGone(self._gone.cause, self._gone.cure) from None

    def fail(self, error: VfioError) -> None:
        """End the connection because of an error. Only the first counts."""
        if self._end(error) and self._on_gone:
            self._on_gone(error)

    def follow(self, error: VfioError) -> None:
        """End the connection because another one of this peer's has ended.

        One that dies ends both, and how this one ended tells more than that the other one was hung
        up: it is left time to be found.
        """
        if type(error) is DeviceGone:
            deadline = time.monotonic() + _LAST_WORDS
            while not self._gone and time.monotonic() < deadline:
                time.sleep(0.01)
        self.fail(error)

    def _end(self, error: VfioError) -> bool:
        with self._lock:
            if self._gone:
                return False
            self._gone = error
            if os.getpid() == self._pid:
                self._transport.shutdown()
            self._calls.end()
        return True

    def hang_up(self) -> None:
        """End the connection as if the peer had. Takes no lock: signal handlers may."""
        self._transport.shutdown()

    def close(self) -> None:
        """End the connection; on_gone is not called for it. Idempotent.

        In a process that was forked meanwhile the socket is closed, and the connection goes on.
        """
        self._end(DeviceGone(f"{self.peer}: closed"))
        with self._lock:
            if not self._closed:
                self._closed = True
                if not self._users:
                    self._transport.close()
