# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Engine: fetches commands, has them done, and completes them (section 7.2), as the model's work.

There is one from each enabling of the controller to its reset, with all that is reset with it. It
runs on one thread at a time, and while there is nothing to do, on none: a doorbell wakes it. What
has to wait for a file is given to other threads, which hand back what came of it.

Whatever a guest puts into its rings, a turn of the engine takes a bounded time and memory: as many
commands are under way as completions have room.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyvmm.models.backing import NotDurable
from pyvmm.vfio import DmaFault, VfioError

from . import data_pointer
from .admin import AdminCommands
from .error_log import ErrorLog
from .events import INVALID_DOORBELL_REGISTER, INVALID_DOORBELL_VALUE, Events
from .features import Features
from .nvm import READS, NvmCommands
from .queues import Completion, CompletionQueue, SubmissionQueue
from .shadow import ShadowDoorbells
from .spec import DNR, MORE, RETRYABLE, SQE, SQE_SIZE, Command, Rejected, Status

if TYPE_CHECKING:
    from .controller import Nvme

Work = Callable[[SubmissionQueue, Command], int | None]
"""Does a command: dword 0 of its completion, or None if that comes later. Raises Rejected, DmaFault
and OSError, each of which becomes a status."""

BURST = 64  # commands of one queue, before it is another's turn
MOST_DEFERRED = 256  # commands that wait for files; while there are more, none are fetched


class _Deferred:
    """A command for another thread; one is not another, whatever a guest calls them."""

    __slots__ = ("cid", "sq")

    def __init__(self, sq: SubmissionQueue, cid: int) -> None:
        self.sq = sq
        self.cid = cid


class Engine:
    def __init__(self, model: Nvme, page: int) -> None:
        """`page` is the memory page size, in bytes."""
        self.model = model
        self.page = page
        self.sqs: dict[int, SubmissionQueue] = {}
        self.cqs: dict[int, CompletionQueue] = {}
        self.errors = ErrorLog()
        self.events = Events()
        self.features = Features(self.events)
        self.shadow: ShadowDoorbells | None = None
        self._admin = AdminCommands(self)
        self._nvm = NvmCommands(self)
        self._running = False
        self._to_look = False  # a doorbell was rung whose value is yet to be looked at
        self._stopping = False
        self._broken = False
        self._abandoned = False
        self._deferred = 0
        self._queued: list[_Deferred] = []  # those of them that have not begun
        self.changing = 0
        """Commands under way that change a file, which a reset of the function doesn't stop"""
        self._finished: deque[tuple[SubmissionQueue, int, int, int]] = deque()

    # Called by the controller, with its lock.

    def ring(self, index: int, value: int) -> None:
        """A doorbell: index 2n is the tail of submission queue n, 2n + 1 a completion's head."""
        self.take(index, value)
        # What is being read of a doorbell buffer just now may be older, and undo it: look again.
        self.wake(to_look=self.shadow is not None)

    def ring_unseen(self) -> None:
        """A doorbell of an I/O queue, whose value can only be in a doorbell buffer."""
        if self.shadow is None:
            self.model.guest_error("a doorbell by ioeventfd, without doorbell buffers")
            self.events.report(INVALID_DOORBELL_VALUE)
        self.wake(to_look=True)

    def stop(self) -> None:
        """Fetch no more, and tell the controller when nothing is under way."""
        self._stopping = True
        self.wake()

    def abandon(self) -> None:
        """Do nothing any more: all is done, or the function was reset, and memory is others'."""
        self._abandoned = True

    def wake(self, *, to_look: bool = False) -> None:
        """Have it run, if there is something to do, or to look whether there is."""
        with self.model.lock:
            if to_look:
                # Also while it runs: it may have looked for the last time before it rests.
                self._to_look = True
            if not (self._running or self._abandoned) and self._ready():
                self.model.start(self._run, self._ran)
                self._running = True

    @property
    def asserts_intx(self) -> bool:
        """Whether a completion waits for the guest, with an interrupt that isn't masked."""
        masked = self.model.INTMS
        return any(
            cq.vector is not None and cq.head != cq.tail and not masked >> cq.vector & 1
            for cq in list(self.cqs.values())
        )

    # What commands do with it.

    def take(self, index: int, value: int) -> None:
        """Take the value of a doorbell, or have the guest told that it can't be."""
        queue = (self.cqs if index & 1 else self.sqs).get(index >> 1)
        if queue is None:
            self.model.guest_error("a doorbell of a queue that there is not")
            self.events.report(INVALID_DOORBELL_REGISTER)
        elif not queue.take(value):
            self.model.guest_error("a doorbell with a value that can't be")
            self.events.report(INVALID_DOORBELL_VALUE)
        elif index & 1 and not self.model.messages_on:
            self.model.drive_intx()

    def segments(self, command: Command, size: int) -> list[tuple[int, int]]:
        """Where `size` bytes of a command's data are. Raises Rejected, DmaFault."""
        return data_pointer.segments(command, size, self.page, self.model.dma_read)

    def give(self, command: Command, data: bytes) -> None:
        """Write a command's data to memory."""
        view = memoryview(data)
        for iova, size in self.segments(command, len(data)):
            self.model.dma_write(iova, view[:size])
            view = view[size:]

    def receive(self, command: Command, size: int) -> bytes:
        """Read a command's data from memory."""
        return b"".join(self.model.dma_read(*segment) for segment in self.segments(command, size))

    def defer(
        self, sq: SubmissionQueue, command: Command, do: Callable[[], None], *, changes: bool
    ) -> int | None:
        """Have a command done that waits, by another thread. Returns None, as its `Work` does.

        `changes`: it changes a file, so that whoever uses it next waits for its end.
        """

        queued = _Deferred(sq, command.cid)

        def work(_sq: SubmissionQueue, _command: Command) -> int:
            do()
            return 0

        def job() -> None:
            with self.model.lock:
                if self._abandoned or queued not in self._queued:
                    return
                self._queued.remove(queued)
                self.changing += changes
            outcome: tuple[int, int] = 0, Status.INTERNAL_ERROR
            try:
                outcome = self._attempt(work, sq, command) or outcome
            finally:
                self._finished.append((sq, command.cid, *outcome))
                with self.model.lock:
                    self.changing -= changes
                    if self._abandoned and not self.changing:
                        self.model.left_alone(self)
                self.wake()

        with self.model.lock:
            self._queued.append(queued)
        try:
            self.model.start(job, waits=True)
        except BaseException:  # it is over, and not to be aborted
            with self.model.lock:
                self._queued.remove(queued)
            raise
        self._deferred += 1
        return None

    def abort(self, sq_id: int, cid: int) -> bool:
        """Have a command never done, if it was deferred and hasn't begun; whether it was."""
        with self.model.lock:
            found = [each for each in self._queued if (each.sq.id, each.cid) == (sq_id, cid)]
            if not found:
                return False
            self._queued.remove(found[0])
        self._deferred -= 1
        self._end(found[0].sq, cid, 0, Status.ABORT_REQUESTED)
        return True

    def hold(self, sq: SubmissionQueue) -> None:
        """One command of it takes no more room: it may not end for long."""
        sq.in_flight -= 1
        sq.cq.expected -= 1

    def complete(self, sq: SubmissionQueue, cid: int, result: int, status: int = 0) -> None:
        """End a command that was held."""
        sq.cq.waiting.append(Completion(result, sq.head, sq.id, cid, status))

    # How it works.

    def _run(self) -> str:
        """Work until there is nothing to do; what has gone wrong, or ''."""
        try:
            while True:
                while self._turn():
                    pass
                if self.shadow and not (self._stopping or self._broken):
                    self.shadow.ask_for_doorbells(self)
                with self.model.lock:
                    if not self._ready():
                        self._running = False
                        return ""
        except DmaFault:
            return "a queue can't be reached"
        except Exception:
            self._ran("an error in the model")
            raise

    def _ran(self, wrong: str) -> None:
        """With the lock. Broken, it does nothing any more until the guest resets the controller."""
        if wrong:
            with self.model.lock:
                self._broken = True
                self._running = False
                self.model.fatal(self, wrong)
                self.wake()

    def _turn(self) -> bool:
        """Do something of each queue; False if there was nothing to do."""
        while self._finished:
            sq, cid, result, status = self._finished.popleft()
            self._deferred -= 1
            self._end(sq, cid, result, status)
        if self._stopping:
            return self._settle()
        if self._broken:
            return False
        self._to_look = False
        if self.shadow:
            self.shadow.load(self)
        progress = False
        for sq in tuple(self.sqs.values()):
            if self._fetchable(sq):
                progress |= self._serve(sq)
        for cid, result in self.events.deliver():
            self.complete(self.sqs[0], cid, result)
        self._post()
        return progress or bool(self._finished)

    def _ready(self) -> bool:
        """Whether there is something to do that nobody will wake it for."""
        if self._finished:
            return True
        if self._stopping:
            return not (self._deferred or self._abandoned)
        if self._broken:
            return False
        return bool(
            self._to_look
            or any(self._fetchable(sq) and sq.cq.room > 0 for sq in self.sqs.values())
            or any(cq.waiting and cq.used < cq.entries - 1 for cq in self.cqs.values())
            or self.events.deliverable
        )

    def _fetchable(self, sq: SubmissionQueue) -> bool:
        # Those of the admin queue are how a driver learns of a stuck disk.
        may_defer = not sq.id or self._deferred < MOST_DEFERRED
        return sq.head != sq.tail and sq.deleted is None and may_defer

    def _serve(self, sq: SubmissionQueue) -> bool:
        iova, count = sq.fetch(BURST)
        if not count:
            return False
        execute = self._nvm.execute if sq.id else self._admin.execute
        for fields in SQE.iter_unpack(self.model.dma_read(iova, count * SQE_SIZE)):
            command = Command._make(fields)
            outcome = self._attempt(execute, sq, command)
            if outcome:
                self._end(sq, command.cid, *outcome)
        return True

    def _attempt(self, work: Work, sq: SubmissionQueue, command: Command) -> tuple[int, int] | None:
        """Do a command: dword 0 and the status field of its completion."""
        try:
            result = work(sq, command)
        except Rejected as rejected:
            return self._failed(sq, command, rejected.status, rejected.where)
        except DmaFault:
            return self._failed(sq, command, Status.DATA_TRANSFER_ERROR)
        except OSError as error:
            self.model.file_error(error)
            status = _status_of(error, command)
            return self._failed(sq, command, status, never=isinstance(error, NotDurable))
        except VfioError:  # no thread to do it
            return self._failed(sq, command, Status.INTERNAL_ERROR)
        return None if result is None else (result, Status.SUCCESS)

    def _failed(
        self,
        sq: SubmissionQueue,
        command: Command,
        status: Status,
        where: int = -1,
        *,
        never: bool = False,
    ) -> tuple[int, int]:
        """`never`: to try again would be in vain."""
        field = status | MORE | (DNR if never or status not in RETRYABLE else 0)
        self.errors.add(sq.id, command, field, where)
        return 0, field

    def _end(self, sq: SubmissionQueue, cid: int, result: int, status: int) -> None:
        sq.in_flight -= 1
        cq = sq.cq
        cq.expected -= 1
        cq.waiting.append(Completion(result, sq.head, sq.id, cid, status))
        if sq.deleted is not None and not sq.in_flight:
            self._admin.sq_is_empty(sq)

    def _post(self) -> None:
        for cq in tuple(self.cqs.values()):
            if not cq.waiting:
                continue
            writes = cq.place()
            for iova, data in writes:
                self.model.dma_write(iova, data)
            if writes and cq.vector is not None:
                self.model.interrupt(cq.vector)

    def _settle(self) -> bool:
        """While stopping: what is under way ends, and nobody is told."""
        if not self._deferred:
            self.sqs.clear()
            self.cqs.clear()
            self.abandon()
            self.model.stopped(self)
        return False


def _status_of(error: OSError, command: Command) -> Status:
    if not isinstance(error, NotDurable) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    ):
        return Status.CAPACITY_EXCEEDED
    return Status.READ_ERROR if command.opcode in READS else Status.WRITE_FAULT
