# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PendingCalls: the commands that were sent and not answered yet, and until when each waits."""

from __future__ import annotations

import contextlib
import threading
import time

from .transport import Message


class Call:
    """A command that waits for its reply, and the thread that does."""

    __slots__ = ("command", "reply", "sent", "since", "thread", "timeout", "wake")

    def __init__(self, command: int, thread: int, timeout: float, sent: float) -> None:
        """sent is of time.monotonic(), timeout in seconds."""
        self.command = command
        self.thread = thread
        self.timeout = timeout
        self.sent = sent
        self.since = 0.0
        """When it became the first of all, if it has."""
        self.reply: Message | None = None
        # Held while its thread sleeps; None if that thread reads for itself.
        self.wake: threading.Lock | None = None

    def awake(self) -> None:
        """Wake its thread, if it sleeps."""
        if self.wake:
            with contextlib.suppress(RuntimeError):  # it has been woken already
                self.wake.release()


class PendingCalls:
    """By message id, in the order in which they were sent. Not locked: its owner is.

    A peer carries out one command after the other. So the time of each begins when the one before
    it is answered, and is not over before.
    """

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}

    def __contains__(self, id: int) -> bool:
        return id in self._calls

    def get(self, id: int) -> Call | None:
        return self._calls.get(id)

    def add(self, id: int, call: Call) -> float:
        """It is being sent. Tells its deadline()."""
        if self._calls:
            self._calls[id] = call
            return self.deadline(call)
        self._calls[id] = call
        call.since = call.sent
        return call.sent + call.timeout

    def remove(self, id: int) -> None:
        """Its reply is there, or nobody waits for that any more. Idempotent."""
        self._calls.pop(id, None)
        if self._calls:
            first = next(iter(self._calls.values()))
            first.since = first.since or time.monotonic()

    def deadline(self, call: Call) -> float:
        """Until when, of time.monotonic(), the call's reply may come.

        That is as things are now: when one before it is answered, it is sooner.
        """
        deadline = 0.0
        for each in self._calls.values():
            deadline = (deadline or each.since) + each.timeout
            if each is call:
                break
        return deadline

    def deadline_behind(self, now: float, timeout: float) -> float:
        """Likewise until when something else has time that is sent now, behind them all."""
        last = next(reversed(self._calls.values()), None)
        return (self.deadline(last) if last else now) + timeout

    def sleeper(self) -> Call | None:
        """One whose thread sleeps, if there is any."""
        if not self._calls:
            return None
        return next((call for call in self._calls.values() if call.wake), None)

    def end(self) -> None:
        """There will be no replies: wake all."""
        for call in self._calls.values():
            call.awake()
        self._calls.clear()
