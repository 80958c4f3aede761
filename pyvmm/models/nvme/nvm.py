# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The NVM command set (section 6): what the I/O queues carry.

What can be had at once is done by the engine's own thread; what waits for a file is deferred.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from .namespace import Namespace
from .queues import SubmissionQueue
from .spec import BROADCAST, Command, Io, Rejected, Status

if TYPE_CHECKING:
    from .engine import Engine, Work

MAX_TRANSFER_SHIFT = 8  # MDTS: 1 MiB, in the smallest pages
MAX_TRANSFER = 4096 << MAX_TRANSFER_SHIFT
READS = frozenset({Io.READ, Io.COMPARE})
_QUICK_WRITE = 64 << 10  # bytes that the page cache takes without much ado

_FUSED = 0x03  # in a command's flags
_FORCE_UNIT_ACCESS = 1 << 30  # in dword 12
_DEALLOCATE = 1 << 25  # in dword 12 of Write Zeroes
_ATTRIBUTE_DEALLOCATE = 1 << 2  # in dword 11 of Dataset Management
_RANGE = struct.Struct("<IIQ")


class NvmCommands:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._namespaces = engine.model.namespaces
        self._counts = engine.model.statistics
        self._commands: dict[int, Work] = {
            Io.FLUSH: self._flush,
            Io.WRITE: self._write,
            Io.READ: self._read,
            Io.COMPARE: self._compare,
            Io.WRITE_ZEROES: self._write_zeroes,
            Io.DATASET_MANAGEMENT: self._manage_dataset,
        }

    def execute(self, sq: SubmissionQueue, command: Command) -> int | None:
        """An `engine.Work`."""
        work = self._commands.get(command.opcode)
        if work is None:
            raise Rejected(Status.INVALID_OPCODE, 0)
        if command.flags & _FUSED:
            raise Rejected(Status.INVALID_FIELD, 1)
        return work(sq, command)

    def _namespace(self, command: Command) -> Namespace:
        namespace = self._namespaces.get(command.nsid)
        if namespace is None:
            raise Rejected(Status.INVALID_NAMESPACE, 4)
        return namespace

    def _blocks(self, command: Command) -> tuple[Namespace, int, int]:
        """The namespace, and the place of a command's blocks in its backing, in bytes."""
        namespace = self._namespace(command)
        block = command.cdw11 << 32 | command.cdw10
        count = (command.cdw12 & 0xFFFF) + 1
        namespace.check(block, count)
        return namespace, block << namespace.shift, count << namespace.shift

    def _read(self, sq: SubmissionQueue, command: Command) -> int | None:
        namespace, offset, size = self._blocks(command)
        self._check_transfer(size)
        segments = self._engine.segments(command, size)
        self._counts.read(size)
        backing, model = namespace.backing, self._engine.model
        if backing.read_quickly(model, offset, segments, size):
            return 0
        read = partial(backing.read_into, model, offset, segments, size)
        return self._engine.defer(sq, command, read, changes=False)

    def _write(self, sq: SubmissionQueue, command: Command) -> int | None:
        namespace, offset, size = self._blocks(command)
        self._check_transfer(size)
        namespace.check_writable()
        segments = self._engine.segments(command, size)
        self._counts.write(size)
        backing = namespace.backing
        write = partial(backing.write_from, self._engine.model, offset, segments, size)
        if size <= _QUICK_WRITE and not self._is_durable(command):
            write()
            return 0

        def write_durably() -> None:
            write()
            # Asked after it: the cache may have been switched off, and flushed, meanwhile.
            if self._is_durable(command):
                backing.flush()

        return self._engine.defer(sq, command, write_durably, changes=True)

    def _is_durable(self, command: Command) -> bool:
        """Whether what a command writes is to be durable when it completes."""
        forced = bool(command.cdw12 & _FORCE_UNIT_ACCESS)
        return forced or not self._engine.features.write_cache

    def _compare(self, sq: SubmissionQueue, command: Command) -> int | None:
        namespace, offset, size = self._blocks(command)
        self._check_transfer(size)
        segments = self._engine.segments(command, size)
        self._counts.read(size)

        def compare() -> None:
            at = offset
            for iova, length in segments:
                expected = self._engine.model.dma_read(iova, length)
                if namespace.backing.read(at, length) != expected:
                    raise Rejected(Status.COMPARE_FAILURE)
                at += length

        return self._engine.defer(sq, command, compare, changes=False)

    def _flush(self, sq: SubmissionQueue, command: Command) -> int | None:
        if command.nsid == BROADCAST:
            chosen = list(self._namespaces.values())
        else:
            chosen = [self._namespace(command)]

        def flush() -> None:
            for namespace in chosen:
                namespace.backing.flush()

        return self._engine.defer(sq, command, flush, changes=False)

    def _write_zeroes(self, sq: SubmissionQueue, command: Command) -> int | None:
        namespace, offset, size = self._blocks(command)
        namespace.check_writable()
        backing = namespace.backing
        deallocate = bool(command.cdw12 & _DEALLOCATE)
        durable = bool(command.cdw12 & _FORCE_UNIT_ACCESS) or not self._engine.features.write_cache

        def write_zeroes() -> None:
            backing.write_zeroes(offset, size, deallocate=deallocate)
            if durable:
                backing.flush()

        return self._engine.defer(sq, command, write_zeroes, changes=True)

    def _manage_dataset(self, sq: SubmissionQueue, command: Command) -> int | None:
        namespace = self._namespace(command)
        count = (command.cdw10 & 0xFF) + 1
        ranges = []
        for _, blocks, first in _RANGE.iter_unpack(
            self._engine.receive(command, count * _RANGE.size)
        ):
            namespace.check(first, blocks)
            if blocks:
                ranges.append((first << namespace.shift, blocks << namespace.shift))
        if not command.cdw11 & _ATTRIBUTE_DEALLOCATE:
            return 0  # the others are hints
        namespace.check_writable()

        def deallocate() -> None:
            for offset, size in ranges:
                if not namespace.backing.deallocate(offset, size):
                    break  # it is a hint, too

        return self._engine.defer(sq, command, deallocate, changes=True)

    def _check_transfer(self, size: int) -> None:
        if size > MAX_TRANSFER:
            raise Rejected(Status.INVALID_FIELD, 48)
