# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A user without privileges, in a child process."""

from __future__ import annotations

import os
from collections.abc import Callable

NOBODY = 65534


def as_nobody(task: Callable[[], str]) -> str:
    """What the task tells, or how it failed, where that user runs it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, task().encode())
        except BaseException as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as told:
        text = told.read()
    os.waitpid(pid, 0)
    return text
