# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteMemory: what a DmaTable needs of memory that only its owner can read and write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Check = Callable[[int, int], None]
"""check(iova, size) raises DmaFault if the device may not do that DMA any more."""


class RemoteMemory(Protocol):
    """Memory in another process, reached by messages, each of max_size bytes at most.

    The check comes last before a message is sent, with nothing in between: what is sent to the
    same process after the check would have failed comes after it. Both raise DmaFault.
    """

    max_size: int
    awaited: bool
    """Whether replies come without the help of the thread that handles what the owner asks for.

    Then what is to come after an access, such as an unmap, waits for its end.
    """

    def read(self, iova: int, size: int, check: Check) -> bytes: ...

    def write(self, iova: int, data: bytes | memoryview, check: Check) -> None: ...
