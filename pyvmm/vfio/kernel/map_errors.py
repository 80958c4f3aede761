# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Why the kernel refused a DMA mapping, and what to do: its errno says only so much."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterable
from typing import NamedTuple

from ..host import IommuGroup
from ..intervals import Interval, subtract

_CAP_IPC_LOCK = 14
_ENTRY_LIMIT = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"


class Reserved(NamedTuple):
    """IOVAs that no mapping may touch, and whose they are."""

    range: Interval
    kind: str
    group: int

    def __str__(self) -> str:
        names = {"msi": "the MSI window", "reserved": "reserved", "direct": "the firmware's own"}
        return f"{self.range} is {names.get(self.kind, self.kind)} of group {self.group}"


def reserved_by(groups: Iterable[IommuGroup]) -> tuple[Reserved, ...]:
    """What the IOMMU groups have reserved, but for what may be mapped after all."""
    return tuple(
        Reserved(region.range, region.kind, group.number)
        for group in groups
        for region in group.reserved_regions
        if region.kind != "direct-relaxable"
    )


def why_not_here(
    wanted: Interval, ranges: Iterable[Interval], reserved: Iterable[Reserved]
) -> str | None:
    """Why these IOVAs can't be mapped at all; None if nothing speaks against it."""
    for region in reserved:
        if region.range.overlaps(wanted):
            return f"{region}; map around it"
    ranges = tuple(ranges)
    outside = subtract((wanted,), ranges)
    if outside:
        usable = " and ".join(map(str, ranges)) or "nothing"
        return f"{outside[0]} is out of the IOMMU's reach, which is {usable}"
    return None


def why_no_entry(taken: int) -> str:
    """For type1's ENOSPC: how many mappings a container may have, and how to have more."""
    limit = _read_number(_ENTRY_LIMIT)
    limit_text = "the limit" if limit is None else f"the limit of {limit}"
    return (
        f"{limit_text} on mappings of a container (dma_entry_limit) is reached with {taken}: "
        f"map fewer, larger pieces, or write more into {_ENTRY_LIMIT} and open the container anew"
    )


LOCK_MORE = "raise it (ulimit -l, LimitMEMLOCK= in a systemd unit, memlock in limits.conf)"


def why_no_memory(size: int) -> str:
    """For ENOMEM: the limit on locked memory, with its numbers, if there is one that counts."""
    limit = lock_limit()
    if limit is None:
        return "the host has not that much memory to lock, or not the tables for it"
    locked = (_status("VmLck") or 0) << 10
    return (
        f"it takes {_kib(size)} of locked memory, and of RLIMIT_MEMLOCK's {_kib(limit)} "
        f"{_kib(locked)} are in use by this process: {LOCK_MORE}"
    )


def why_bad_address(address: int, writable: bool) -> str:
    """For EFAULT: what is at the address. See proc_pid_maps(5)."""
    found = _area(address)
    if found is None:
        return f"there is no memory at address {address:#x}"
    permissions, path = found
    if "vfio" in path:
        return "iommufd maps no BAR by address: use map_bar(). Others do if its device decodes it"
    if writable and "w" not in permissions:
        return f"the memory at address {address:#x} is read-only: map it with writable=False"
    return f"not all of the memory from address {address:#x} is there"


def lock_limit() -> int | None:
    """How many bytes of memory this process may lock; None if any number.

    RLIMIT_MEMLOCK doesn't count for who has CAP_IPC_LOCK.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    free = bool((_status("CapEff", 16) or 0) >> _CAP_IPC_LOCK & 1)
    return None if free or limit == resource.RLIM_INFINITY else limit


def _kib(size: int) -> str:
    return f"{-(-size >> 10)} KiB"


def _status(name: str, base: int = 10) -> int | None:
    """A number from this thread's status: capabilities are each thread's own."""
    with open("/proc/thread-self/status") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1], base)
    return None


def _area(address: int) -> tuple[str, str] | None:
    """The permissions and the file of what is mapped at an address."""
    with open("/proc/self/maps") as file:
        for line in file:
            words = line.split(maxsplit=5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            if start <= address < end:
                return words[1], words[5] if len(words) > 5 else ""
    return None


def _read_number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except OSError:
        return None


def explain(
    number: int,
    wanted: Interval,
    *,
    address: int,
    writable: bool,
    mapped: int,
    ranges: Iterable[Interval],
    reserved: Iterable[Reserved],
) -> str:
    """The cause and the cure for an errno of a map call, "" if they are not known.

    mapped is how many mappings there are.
    """
    if number in (errno.EINVAL, errno.ENOENT, errno.EADDRINUSE, errno.EOVERFLOW):
        return why_not_here(wanted, ranges, reserved) or ""
    if number == errno.ENOSPC:
        return why_no_entry(mapped)
    if number == errno.ENOMEM:
        return why_no_memory(wanted.size)
    if number == errno.EFAULT:
        return why_bad_address(address, writable)
    return ""
