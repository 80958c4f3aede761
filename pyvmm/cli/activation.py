# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Sockets that systemd, or whoever speaks its protocol, passes to a command: sd_listen_fds(3)."""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Passed(NamedTuple):
    """A file descriptor, and what its socket unit calls it (FileDescriptorName=)."""

    fd: int
    name: str


def offered(environment: MutableMapping[str, str] | None = None) -> bool:
    """Whether somebody passes sockets at all."""
    return "LISTEN_FDS" in (os.environ if environment is None else environment)


def take(environment: MutableMapping[str, str] | None = None) -> list[Passed]:
    """The sockets that were passed to this process; once: the variables are gone then.

    Raises CannotListen if they are not for it, or make no sense.
    """
    environment = os.environ if environment is None else environment
    pid, count, names = (environment.pop(name, "") for name in _VARIABLES)
    if not (pid.isascii() and pid.isdigit() and count.isascii() and count.isdigit()):
        raise _senseless(f"LISTEN_PID={pid!r}, LISTEN_FDS={count!r}", "give both a number")
    if int(pid) != os.getpid():
        cure = "start pyvmm itself, with no shell in between"
        raise _senseless(f"LISTEN_PID is {pid}, and this process {os.getpid()}", cure)
    given = names.split(":") if names else []
    fds = range(_FIRST, _FIRST + min(int(count), 1 << 16))
    return [Passed(fd, given[i] if i < len(given) else "") for i, fd in enumerate(fds)]


def assign(passed: Sequence[Passed], models: Sequence[str]) -> list[int]:
    """The fd for each model: by name if all models' names are there, else by order.

    Raises CannotListen if there are more or less than there are models.
    """
    if len(passed) != len(models):
        from .._counted import counted

        sockets = counted(len(passed), "socket")
        verb = "was" if len(passed) == 1 else "were"
        what = f"{sockets} {verb} passed for {counted(len(models), 'model')}"
        raise _senseless(what, "have a socket unit with one for each (ListenStream=)")
    left = list(passed)
    found: list[int] = []
    for model in models:
        match = next((one for one in left if one.name == model), None)
        if match is None:
            return [one.fd for one in passed]
        left.remove(match)
        found.append(match.fd)
    return found


def _senseless(what: str, cure: str) -> Exception:
    from pyvmm.vfio import CannotListen

    return CannotListen(f"socket activation: {what}", cure)
