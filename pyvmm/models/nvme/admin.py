# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Admin commands (section 5): queues, features, logs, and what the controller is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .features import MAX_QUEUES, VECTORS
from .identify import identify
from .log_pages import get_log_page
from .queues import CompletionQueue, SubmissionQueue
from .shadow import ShadowDoorbells
from .spec import Admin, Command, Rejected, Status

if TYPE_CHECKING:
    from .engine import Engine, Work

MAX_ENTRIES = 2048  # of an I/O queue

_CONTIGUOUS = 1 << 0
_INTERRUPTS = 1 << 1
_NOT_ABORTED = 1


class AdminCommands:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commands: dict[int, Work] = {
            Admin.DELETE_SQ: self._delete_sq,
            Admin.CREATE_SQ: self._create_sq,
            Admin.GET_LOG_PAGE: self._get_log_page,
            Admin.DELETE_CQ: self._delete_cq,
            Admin.CREATE_CQ: self._create_cq,
            Admin.IDENTIFY: self._identify,
            Admin.ABORT: self._abort,
            Admin.SET_FEATURES: self._set_features,
            Admin.GET_FEATURES: self._get_features,
            Admin.ASYNC_EVENT_REQUEST: self._request_event,
            Admin.DOORBELL_BUFFER_CONFIG: self._set_doorbell_buffers,
        }

    def execute(self, sq: SubmissionQueue, command: Command) -> int | None:
        """An `engine.Work`."""
        work = self._commands.get(command.opcode)
        if work is None:
            raise Rejected(Status.INVALID_OPCODE, 0)
        if command.flags:  # no fused commands, and no SGLs here (section 4.4)
            raise Rejected(Status.INVALID_FIELD, 1)
        return work(sq, command)

    def sq_is_empty(self, sq: SubmissionQueue) -> None:
        """The last command of a queue that is being deleted has ended."""
        assert sq.deleted is not None
        self._engine.complete(self._engine.sqs[0], sq.deleted, 0)
        self._remove(sq)

    def _identify(self, _sq: SubmissionQueue, command: Command) -> int:
        self._engine.give(command, identify(self._engine.model, command))
        return 0

    def _get_log_page(self, _sq: SubmissionQueue, command: Command) -> int:
        return get_log_page(self._engine, command)

    def _set_features(self, sq: SubmissionQueue, command: Command) -> int | None:
        features = self._engine.features
        cached = features.write_cache
        result = features.set(
            command.cdw10 & 0xFF,
            command.cdw11,
            save=bool(command.cdw10 >> 31),
            io_queues=len(self._engine.cqs) > 1,
        )
        if cached and not features.write_cache:
            # What was written by then is to be as durable as what is written from now on.
            return self._engine.defer(sq, command, self._flush_all, changes=False)
        return result

    def _flush_all(self) -> None:
        for namespace in self._engine.model.namespaces.values():
            namespace.backing.flush()

    def _get_features(self, _sq: SubmissionQueue, command: Command) -> int:
        id, select = command.cdw10 & 0xFF, command.cdw10 >> 8 & 7
        return self._engine.features.get(id, select, command.cdw11)

    def _create_cq(self, _sq: SubmissionQueue, command: Command) -> int:
        id, entries = self._new_queue(command, self._engine.cqs)
        vector = command.cdw11 >> 16
        if vector >= VECTORS:
            raise Rejected(Status.INVALID_INTERRUPT_VECTOR, 46)
        interrupts = command.cdw11 & _INTERRUPTS
        cq = CompletionQueue(id, command.prp1, entries, vector if interrupts else None)
        self._engine.cqs[id] = cq
        return 0

    def _create_sq(self, _sq: SubmissionQueue, command: Command) -> int:
        cq_id = command.cdw11 >> 16
        cq = self._engine.cqs.get(cq_id)
        if not cq_id or cq is None:
            raise Rejected(Status.INVALID_CQ, 46)
        id, entries = self._new_queue(command, self._engine.sqs)
        self._engine.sqs[id] = SubmissionQueue(id, command.prp1, entries, cq)
        cq.users += 1
        return 0

    def _new_queue(
        self,
        command: Command,
        existing: dict[int, SubmissionQueue] | dict[int, CompletionQueue],
    ) -> tuple[int, int]:
        """Check what both kinds have in common; the new queue's id and entries."""
        id, entries = command.cdw10 & 0xFFFF, (command.cdw10 >> 16) + 1
        if not 1 <= id <= MAX_QUEUES or id in existing:
            raise Rejected(Status.INVALID_QUEUE_ID, 40)
        if not 2 <= entries <= MAX_ENTRIES or not self._engine.model.entry_sizes_are_right:
            raise Rejected(Status.INVALID_QUEUE_SIZE, 42)
        if not command.cdw11 & _CONTIGUOUS:
            raise Rejected(Status.INVALID_FIELD, 44)
        if command.prp1 % self._engine.page:
            raise Rejected(Status.INVALID_PRP_OFFSET, 24)
        return id, entries

    def _delete_sq(self, admin: SubmissionQueue, command: Command) -> int | None:
        id = command.cdw10 & 0xFFFF
        sq = self._engine.sqs.get(id)
        if not id or sq is None or sq.deleted is not None:
            raise Rejected(Status.INVALID_QUEUE_ID, 40)
        sq.deleted = command.cid
        if sq.in_flight:
            self._engine.hold(admin)
            return None
        self._remove(sq)
        return 0

    def _remove(self, sq: SubmissionQueue) -> None:
        del self._engine.sqs[sq.id]
        sq.cq.users -= 1

    def _delete_cq(self, _sq: SubmissionQueue, command: Command) -> int:
        id = command.cdw10 & 0xFFFF
        cq = self._engine.cqs.get(id)
        if not id or cq is None:
            raise Rejected(Status.INVALID_QUEUE_ID, 40)
        if cq.users:
            raise Rejected(Status.INVALID_QUEUE_DELETION, 40)
        del self._engine.cqs[id]
        return 0

    def _abort(self, admin: SubmissionQueue, command: Command) -> int:
        """What waits: for an event, or for a thread that does it. A system call isn't aborted."""
        sq_id, cid = command.cdw10 & 0xFFFF, command.cdw10 >> 16
        if not sq_id and self._engine.events.take_back(cid):
            self._engine.complete(admin, cid, 0, Status.ABORT_REQUESTED)
            return 0
        return 0 if self._engine.abort(sq_id, cid) else _NOT_ABORTED

    def _request_event(self, admin: SubmissionQueue, command: Command) -> None:
        self._engine.events.request(command.cid)
        self._engine.hold(admin)

    def _set_doorbell_buffers(self, _sq: SubmissionQueue, command: Command) -> int:
        page = self._engine.page
        if command.prp1 % page or command.prp2 % page or not (command.prp1 and command.prp2):
            raise Rejected(Status.INVALID_FIELD, 24)
        self._engine.shadow = ShadowDoorbells(command.prp1, command.prp2)
        return 0
