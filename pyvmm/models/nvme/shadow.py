# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbells in memory (Doorbell Buffer Config, section 5.7), so that a busy guest need not exit.

The guest writes each doorbell of an I/O queue into a page, which is looked at as long as there is
work, and rings the real one only if that takes it past a value in a second page: the last one that
was looked at before the engine went to rest.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine


def _doorbells(engine: Engine) -> dict[int, int]:
    """Those of I/O queues, by index, as they were taken last."""
    tails = {2 * id: sq.tail for id, sq in tuple(engine.sqs.items()) if id}
    return tails | {2 * id + 1: cq.head for id, cq in tuple(engine.cqs.items()) if id}


class ShadowDoorbells:
    """IOVAs of the two pages, each with doorbells as they are in the BAR."""

    def __init__(self, doorbells: int, event_indexes: int) -> None:
        self._doorbells = doorbells
        self._event_indexes = event_indexes
        self._asked: dict[int, int] = {}

    def load(self, engine: Engine) -> None:
        """Take what the guest has written. Raises DmaFault."""
        before = _doorbells(engine)
        size = 4 * (max(before, default=0) + 2)
        values = memoryview(engine.model.dma_read(self._doorbells, size)).cast("I")
        changed = [index for index, value in before.items() if values[index] != value]
        if not changed:
            return
        with engine.model.lock:
            # One that was rung meanwhile may be newer than what was read of it, which would not
            # even be a value that can be. It is looked at again, as ring() has asked for.
            now = _doorbells(engine)
            for index in changed:
                if now.get(index) == before[index]:
                    engine.take(index, values[index])

    def ask_for_doorbells(self, engine: Engine) -> None:
        """Have the guest ring for what comes from now on, and take what came until now.

        It is not asked about completions that it consumes, unless something waits for that.
        """
        wanted = {2 * id: sq.tail for id, sq in tuple(engine.sqs.items()) if id}
        for id, cq in tuple(engine.cqs.items()):
            if id and (cq.room <= 0 or not engine.model.messages_on):
                wanted[2 * id + 1] = cq.head
        for index, value in wanted.items():
            if self._asked.get(index) != value:
                engine.model.dma_write(self._event_indexes + 4 * index, struct.pack("<I", value))
                self._asked[index] = value
        self.load(engine)
