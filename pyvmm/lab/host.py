# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The machine that a lab is to run on."""

from __future__ import annotations

import platform
import resource

from .errors import LabError

_FILES = 64


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


def host_release() -> str:
    """The code name of the Debian release that the host runs; "" on others."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return ""
    return system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
