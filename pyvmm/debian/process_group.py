# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""process_group(): children that end with this process, however that ends, and so do theirs.

A signal to this process alone reaches none of them, one from a terminal only those in its own
group, and of SIGKILL it can tell nobody. So the first in the group is a shell that waits for the
end of a pipe, of which only this process has the other end, and then kills the group.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WATCH = "read -r _; kill -KILL 0"
# Seconds, for processes that have been killed to be gone.
_PATIENCE = 1.0


@contextmanager
def process_group() -> Iterator[int]:
    """A new group's number, which subprocess takes as process_group.

    At the end of the block nobody is left in it.
    """
    reader, writer = os.pipe()
    try:
        try:
            watch = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        finally:
            os.close(reader)
        try:
            yield watch.pid
        finally:
            os.close(writer)
            writer = -1
            watch.wait()
            _await_end(watch.pid)
    finally:
        if writer >= 0:
            os.close(writer)


def _await_end(group: int) -> None:
    """What they write to may be removed next. Those whom nobody waits for may stay, as zombies."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except OSError:
            return
        time.sleep(0.001)
