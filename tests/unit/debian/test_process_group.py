# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A group of processes ends with its block, and with the process that began it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress

import pytest

from pyvmm.debian.process_group import process_group

pytestmark = pytest.mark.usefixtures("no_leaks")

# Its child has a child of its own.
FAMILY = ["sh", "-c", "sleep 1000 & echo $$ $!; wait"]


class Process:
    """Somebody else's process, to see it end."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def ended(self) -> bool:
        """Wait for its end."""
        ready = select.select([self._fd], [], [], 20)[0]
        os.close(self._fd)
        return bool(ready)


def start(group: int) -> tuple[subprocess.Popen[str], list[Process]]:
    family = subprocess.Popen(FAMILY, stdout=subprocess.PIPE, text=True, process_group=group)
    assert family.stdout
    return family, [Process(int(pid)) for pid in family.stdout.readline().split()]


def test_at_the_end_of_the_block_nobody_is_left() -> None:
    with process_group() as group:
        assert group != os.getpgrp()
        family, processes = start(group)
    with family:
        assert [process.ended() for process in processes] == [True, True]


def test_nor_if_that_is_an_error() -> None:
    families = []
    with suppress(ZeroDivisionError), process_group() as group:
        families.append(start(group))
        raise ZeroDivisionError
    ((family, processes),) = families
    with family:
        assert [process.ended() for process in processes] == [True, True]


def test_who_has_ended_is_not_waited_for() -> None:
    with process_group() as group:
        assert subprocess.run(["true"], process_group=group, check=True).returncode == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_nobody_outlives_a_process_that_is_killed() -> None:
    script = f"""
import subprocess
from pyvmm.debian.process_group import process_group
with process_group() as group:
    subprocess.run({FAMILY!r}, process_group=group)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        processes = [Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
        assert [process.ended() for process in processes] == [True, True]
