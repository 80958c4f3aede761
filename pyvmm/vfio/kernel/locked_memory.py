# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RLIMIT_MEMLOCK: memory that devices reach is locked, and counts for this process or its user.

type1 counts it for the process, once for each container; iommufd for the user, whose other
processes count too. Whoever has CAP_IPC_LOCK may lock any amount. See mlock(2).
"""

from __future__ import annotations

import resource

from ..errors import HostDeviceUnavailable

_WAYS = "`ulimit -l{}`, LimitMEMLOCK={} in a systemd unit, or memlock in /etc/security/limits.conf"

LOCK_MORE = f"raise it: {_WAYS.format('', '')}"
"""The cure where it isn't known how much would do."""

_CAP_IPC_LOCK = 14


def check_limit(size: int, what: str) -> None:
    """Make sure that size bytes more can be locked, as far as this process can tell.

    what they are is for the message, with the limit that it takes. Raises HostDeviceUnavailable.
    """
    limit = lock_limit()
    if limit is None:
        return
    needed = _locked() + size
    if needed > limit:
        kib = -(-needed >> 10)
        raise HostDeviceUnavailable(
            f"{what} takes {_kib(size)} of locked memory, and RLIMIT_MEMLOCK is {_kib(limit)}"
            + _of_which(_locked()),
            f"raise it to {kib} KiB at least: {_WAYS.format(f' {kib}', f'{kib}K')}",
        )


def why_no_memory(size: int) -> str:
    """For ENOMEM: the limit on locked memory, with its numbers, if there is one that counts."""
    limit = lock_limit()
    if limit is None:
        return "the host has not that much memory to lock, or not the tables for it"
    return (
        f"it takes {_kib(size)} of locked memory, and of RLIMIT_MEMLOCK's {_kib(limit)} "
        f"{_kib(_locked())} are in use by this process; {LOCK_MORE}"
    )


def may_lock_anything() -> bool:
    """Whether this process has CAP_IPC_LOCK, for which RLIMIT_MEMLOCK doesn't count."""
    return bool((_status("CapEff", 16) or 0) >> _CAP_IPC_LOCK & 1)


def lock_limit() -> int | None:
    """How many bytes this process may lock; None if any number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if limit == resource.RLIM_INFINITY or may_lock_anything() else limit


def _locked() -> int:
    """The bytes that this process has locked."""
    return (_status("VmLck") or 0) << 10


def _of_which(used: int) -> str:
    return f", of which {_kib(used)} are in use" if used else ""


def _kib(size: int) -> str:
    return f"{-(-size >> 10)} KiB"


def _status(name: str, base: int = 10) -> int | None:
    """A number from this thread's status: capabilities are each thread's own."""
    with open("/proc/thread-self/status") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1], base)
    return None
