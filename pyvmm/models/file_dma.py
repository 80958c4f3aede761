# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA between a file and guest memory, by preadv(2) and pwritev(2).

Memory is given in segments, (IOVA, bytes), which needn't adjoin. What never waits goes straight
into and out of memory, where that can be had as such: in the memory of a peer that has given a file
for it. All else goes by a buffer and `dma_read` or `dma_write`, so that nobody who resets or stops
the device, or unmaps memory, waits for a disk. Either way it moves in chunks of bounded size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Model

Segment = tuple[int, int]
"""an IOVA, and a number of bytes"""

CHUNK = 1 << 20
"""bytes that move at a time"""

_Transfer = Callable[[int, Sequence[memoryview | bytes], int, int], int]

_MOST = 1024  # segments for one system call (IOV_MAX)


def read_file(
    model: Model, fd: int, offset: int, segments: Sequence[Segment], flags: int, straight: bool
) -> int:
    """Model.dma_from_file()."""

    def move(at: int, chunk: Sequence[Segment], size: int) -> int:
        moved = None
        if straight:
            moved = _move_straight(model, os.preadv, fd, at, chunk, flags, write=True)
        return _read_buffered(model, fd, at, chunk, size, flags) if moved is None else moved

    return _chunk_by_chunk(offset, segments, move)


def write_file(
    model: Model, fd: int, offset: int, segments: Sequence[Segment], flags: int, straight: bool
) -> int:
    """Model.dma_to_file()."""

    def move(at: int, chunk: Sequence[Segment], _size: int) -> int:
        moved = None
        if straight:
            moved = _move_straight(model, os.pwritev, fd, at, chunk, flags, write=False)
        return _write_buffered(model, fd, at, chunk, flags) if moved is None else moved

    return _chunk_by_chunk(offset, segments, move)


def _chunk_by_chunk(
    offset: int,
    segments: Sequence[Segment],
    move: Callable[[int, Sequence[Segment], int], int],
) -> int:
    """Move chunks at their offsets, up to one that isn't moved whole; the number of bytes."""
    done = 0
    for chunk, wanted in _chunks(segments):
        moved = move(offset + done, chunk, wanted)
        done += moved
        if moved < wanted:
            break
    return done


def _chunks(segments: Sequence[Segment]) -> Iterator[tuple[Sequence[Segment], int]]:
    """Segments that move together, cut where they are too large, and the bytes of them."""
    total = sum(size for _, size in segments)
    if total <= CHUNK and len(segments) <= _MOST:  # as most are
        if total:
            yield segments, total
        return
    chunk: list[Segment] = []
    room = CHUNK
    for iova, size in segments:
        start, end = iova, iova + size
        while start < end:
            part = min(end - start, room)
            chunk.append((start, part))
            start += part
            room -= part
            if not room or len(chunk) == _MOST:
                yield chunk, CHUNK - room
                chunk, room = [], CHUNK
    if chunk:
        yield chunk, CHUNK - room


def _move_straight(
    model: Model,
    transfer: _Transfer,
    fd: int,
    offset: int,
    segments: Sequence[Segment],
    flags: int,
    *,
    write: bool,
) -> int | None:
    """The bytes moved; None if some of the memory can't be had as such."""
    with ExitStack() as stack:
        views = []
        for iova, size in segments:
            view = stack.enter_context(model.dma_view(iova, size, write=write))
            if view is None:
                return None
            views.append(view)
        return _all(transfer, fd, offset, views, flags)


def _read_buffered(
    model: Model, fd: int, offset: int, segments: Sequence[Segment], size: int, flags: int
) -> int:
    buffer = memoryview(bytearray(size))
    done = left = _all(os.preadv, fd, offset, [buffer], flags)
    at = 0
    for iova, length in segments:
        part = min(length, left)
        if part:
            model.dma_write(iova, buffer[at : at + part])
        at += part
        left -= part
    return done


def _write_buffered(
    model: Model, fd: int, offset: int, segments: Sequence[Segment], flags: int
) -> int:
    buffers = [memoryview(model.dma_read(*segment)) for segment in segments]
    return _all(os.pwritev, fd, offset, buffers, flags)


def _all(transfer: _Transfer, fd: int, offset: int, views: Sequence[memoryview], flags: int) -> int:
    """Transfer until it is all done, or no more comes; the number of bytes."""
    done = 0
    while views:
        moved = transfer(fd, views, offset + done, flags)
        if not moved:
            break
        done += moved
        while views and moved >= len(views[0]):
            moved -= len(views[0])
            views = views[1:]
        if moved:
            views = [views[0][moved:], *views[1:]]
    return done
