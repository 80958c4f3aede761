# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Less privileges than root has, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def no_right_to_lock(limit: int) -> Iterator[None]:
    """This thread as one of a user without CAP_IPC_LOCK, who may lock limit bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    assert libc.capget(header, without) == 0
    without[0] &= ~(1 << 14)
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, max(limit, limits[1])))
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
