# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The rings (section 4.1): their heads, tails and doorbells, and completions on their way.

The guest moves a submission queue's tail and a completion queue's head, by doorbells; everything
else is moved by the engine, on one thread at a time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .spec import CQE, CQE_SIZE, SQE_SIZE


class Completion(NamedTuple):
    """What a completion queue entry says, but for its phase."""

    result: int  # command specific, dword 0
    sq_head: int
    sq_id: int
    cid: int
    status: int  # the status field without the phase: status, MORE, DNR


class CompletionQueue:
    """`entries` at IOVA `base`; `vector` is its interrupt's, None if it has none."""

    def __init__(self, id: int, base: int, entries: int, vector: int | None) -> None:
        self.id = id
        self.base = base
        self.entries = entries
        self.vector = vector
        self.head = self.tail = 0
        self.phase = 1
        self.expected = 0
        """commands that were fetched, and for whose completions room is kept"""
        self.waiting: deque[Completion] = deque()
        self.users = 0
        """submission queues"""

    @property
    def used(self) -> int:
        return (self.tail - self.head) % self.entries

    @property
    def room(self) -> int:
        """How many more commands may be fetched, so that each completion has its place."""
        return self.entries - 1 - self.used - len(self.waiting) - self.expected

    def take(self, head: int) -> bool:
        """The doorbell: the guest has consumed up to there. False if it can't have."""
        if head >= self.entries or (head - self.head) % self.entries > self.used:
            return False
        self.head = head
        return True

    def place(self) -> list[tuple[int, bytes]]:
        """Give waiting completions the entries that are free: what to write, by IOVA."""
        count = min(len(self.waiting), self.entries - 1 - self.used)
        writes = []
        while count:
            run = min(count, self.entries - self.tail)
            data = bytearray(run * CQE_SIZE)
            for at in range(0, len(data), CQE_SIZE):
                result, sq_head, sq_id, cid, status = self.waiting.popleft()
                CQE.pack_into(data, at, result, 0, sq_head, sq_id, cid, status << 1 | self.phase)
            writes.append((self.base + self.tail * CQE_SIZE, bytes(data)))
            self.tail += run
            count -= run
            if self.tail == self.entries:
                self.tail = 0
                self.phase ^= 1
        return writes


class SubmissionQueue:
    """`entries` at IOVA `base`, whose commands are completed in `cq`."""

    def __init__(self, id: int, base: int, entries: int, cq: CompletionQueue) -> None:
        self.id = id
        self.base = base
        self.entries = entries
        self.cq = cq
        self.head = self.tail = 0
        self.in_flight = 0
        """commands that were fetched and not completed, but for held asynchronous events"""
        self.deleted: int | None = None
        """the cid of the command that deletes it once nothing is in flight"""

    def take(self, tail: int) -> bool:
        """The doorbell: there are commands up to there. False if there is no such entry."""
        if tail >= self.entries:
            return False
        self.tail = tail
        return True

    def fetch(self, most: int) -> tuple[int, int]:
        """Take up to `most` commands that are together: their IOVA and number."""
        tail = self.tail  # once: the guest may move it meanwhile
        count = tail - self.head if tail >= self.head else self.entries - self.head
        count = min(count, most, self.cq.room)
        if count <= 0:
            return 0, 0
        iova = self.base + self.head * SQE_SIZE
        self.head = (self.head + count) % self.entries
        self.in_flight += count
        self.cq.expected += count
        return iova, count
