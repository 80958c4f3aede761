# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA between a file and guest memory: preadv(2) and pwritev(2) into and out of it, no copy.

Memory is given in segments, (IOVA, bytes), which needn't adjoin. Where memory can't be had as such
(a client that has given no file for it), the data take the way of `dma_read` and `dma_write`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Model

Segment = tuple[int, int]
"""an IOVA, and a number of bytes"""

_Transfer = Callable[[int, Sequence[memoryview | bytearray], int, int], int]

_MOST = 1024  # segments for one system call (IOV_MAX)


def read_file(model: Model, fd: int, offset: int, segments: Sequence[Segment], flags: int) -> int:
    """Model.dma_from_file()."""
    return _move(model, os.preadv, fd, offset, segments, flags, into_memory=True)


def write_file(model: Model, fd: int, offset: int, segments: Sequence[Segment], flags: int) -> int:
    """Model.dma_to_file()."""
    return _move(model, os.pwritev, fd, offset, segments, flags, into_memory=False)


def _move(
    model: Model,
    transfer: _Transfer,
    fd: int,
    offset: int,
    segments: Sequence[Segment],
    flags: int,
    *,
    into_memory: bool,
) -> int:
    if len(segments) == 1:  # most are, and need no stack
        ((iova, size),) = segments
        with model.dma_view(iova, size, write=into_memory) as view:
            if view is not None:
                moved = transfer(fd, (view,), offset, flags)
                if moved == size:
                    return size
    done = 0
    for first in range(0, len(segments), _MOST):
        batch = segments[first : first + _MOST]
        wanted = sum(size for _, size in batch)
        moved = _move_batch(model, transfer, fd, offset + done, batch, flags, into_memory)
        done += moved
        if moved < wanted:
            break
    return done


def _move_batch(
    model: Model,
    transfer: _Transfer,
    fd: int,
    offset: int,
    segments: Sequence[Segment],
    flags: int,
    into_memory: bool,
) -> int:
    with ExitStack() as stack:
        views = []
        for iova, size in segments:
            view = stack.enter_context(model.dma_view(iova, size, write=into_memory))
            if view is None:
                break
            views.append(view)
        else:
            return _all(transfer, fd, offset, views, flags)
    buffers = [bytearray(size) for _, size in segments]
    if not into_memory:
        for buffer, (iova, size) in zip(buffers, segments, strict=True):
            buffer[:] = model.dma_read(iova, size)
    done = _all(transfer, fd, offset, [memoryview(buffer) for buffer in buffers], flags)
    if into_memory:
        left = done
        for buffer, (iova, size) in zip(buffers, segments, strict=True):
            part = min(size, left)
            if part:
                model.dma_write(iova, memoryview(buffer)[:part])
            left -= part
    return done


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
