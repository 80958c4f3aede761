# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The machine that a lab is to run on."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

from .errors import LabError

_FILES = 64
_MEMINFO = Path("/proc/meminfo")
_GIB = 1 << 30


def check_host() -> str:
    """The kind of machine. Raises LabError where no lab can run, whatever is fetched."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise LabError(
            f"the lab runs on Linux on x86-64; this is {platform.system()} on {platform.machine()}",
            "use another machine",
        )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < _FILES:
        raise LabError(
            f"a process has {files} open files at most, and the lab takes {_FILES}",
            "raise the limit on open files (ulimit -n)",
        )
    return "Linux on x86-64"


def check_memory(size: int) -> None:
    """Raises LabError if a lab's memory, in bytes, is more than this host can ever have.

    That is where the kernel refuses it, and before a lab boots in a file that has no such limit.
    More than is free just now is no error: a lab takes what its programs use.
    """
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    has = {name: int(value) << 10 for name, value, *_ in lines}
    most = has["MemTotal:"] + has["SwapTotal:"]
    if size > most:
        raise LabError(
            f"a lab with {size / _GIB:.1f} GiB of memory: this host has {most / _GIB:.1f} GiB, and "
            f"{has['MemAvailable:'] / _GIB:.1f} GiB available",
            "take less --memory",
        )


def host_release() -> str:
    """The code name of the Debian release that the host runs; "" on others."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return ""
    return system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
