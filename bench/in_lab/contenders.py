# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Who is measured in the lab beside pyvmm, and how those run that are programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from ..errors import BenchError

C = "C ioctl"
QEMU = "QEMU"
PREALLOC = "QEMU prealloc"
"""q35 whose RAM is there before it is mapped, by as many threads as the lab has processors."""
KERNEL = "kernel's driver"

_PATIENCE = 60.0


def run(command: Sequence[str], stdin: str = "") -> str:
    """Run a program to its end; returns its output. Raises BenchError."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(command)}: has not ended") from None
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
