# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Memslots: guest memory regions as KVM knows them, with dirty logging.

An observer of guest memory: each region becomes one memslot while it is there.

Source: the kernel's Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION,
KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG.
"""

from __future__ import annotations

import ctypes
import threading
from errno import EEXIST, EINVAL, ENOMEM

from ..uapi import kvm as uapi
from .errors import KvmError, KvmLimitReached, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .dirty_log import DirtyPages

    class Region(Protocol):
        """A range of guest-physical memory: bytes, page-aligned; host is where it is mapped."""

        gpa: int
        size: int
        host: int

        @property
        def readonly(self) -> bool: ...


_CURES = {
    EEXIST: "the guest has other memory there",
    EINVAL: "address and size must be whole pages, of mapped memory, below the guest's limit",
    ENOMEM: "the host is out of memory",
}


class _Slot:
    __slots__ = ("flags", "number", "region")

    def __init__(self, number: int, region: Region) -> None:
        self.number = number
        self.region = region
        self.flags = uapi.KVM_MEM_READONLY if region.readonly else 0


class Memslots:
    """All memslots of one VM. Safe to call from any thread."""

    def __init__(self, vm_fd: int, check_extension: Callable[[int], int]) -> None:
        self._fd = vm_fd
        self._check_extension = check_extension
        self.limit = check_extension(uapi.KVM_CAP_NR_MEMSLOTS)
        self._lock = threading.Lock()
        self._slots: dict[int, _Slot] = {}  # by guest-physical address
        self._free: list[int] = []
        self._next = 0
        self._manual_protect: bool | None = None

    def __len__(self) -> int:
        return len(self._slots)

    # -- observing guest memory ---------------------------------------------------------------

    def region_added(self, region: Region) -> None:
        """Give the guest the region; it may not write to one that is readonly.

        Raises KvmLimitReached, KvmCallFailed; then nothing has changed.
        """
        with self._lock:
            number = self._free[-1] if self._free else self._next
            if number >= self.limit:
                raise KvmLimitReached(
                    f"all {self.limit} memslots of this KVM are in use; map fewer, larger areas"
                )
            slot = _Slot(number, region)
            self._set(slot, region.size, f"mapping guest memory {_name(region)}")
            if self._free:
                self._free.pop()
            else:
                self._next += 1
            self._slots[region.gpa] = slot

    def region_removed(self, region: Region) -> None:
        """Take the region away; when this returns the guest can't reach it any more."""
        with self._lock:
            slot = self._slots[region.gpa]
            self._set(slot, 0, f"unmapping guest memory {_name(region)}")
            del self._slots[region.gpa]
            self._free.append(slot.number)

    def _set(self, slot: _Slot, size: int, doing: str) -> None:
        memory = uapi.kvm_userspace_memory_region(
            slot=slot.number,
            flags=slot.flags if size else 0,
            guest_phys_addr=slot.region.gpa,
            memory_size=size,
            userspace_addr=slot.region.host,
        )
        call(self._fd, uapi.KVM_SET_USER_MEMORY_REGION, memory, doing=doing, cures=_CURES)

    # -- dirty logging ------------------------------------------------------------------------

    def start_dirty_log(self, region: Region) -> None:
        """From now on note which pages of the region the guest writes. Idempotent."""
        with self._lock:
            if self._manual_protect is None:
                self._manual_protect = self._enable_manual_protect()
            self._set_logging(region, on=True)

    def stop_dirty_log(self, region: Region) -> None:
        """Idempotent."""
        with self._lock:
            self._set_logging(region, on=False)

    def read_dirty_log(self, region: Region) -> DirtyPages:
        """The pages that the guest wrote since the last reading, or since the start.

        Pages written by this process or by devices are not in it. Raises KvmError if no log is
        being kept.
        """
        from .dirty_log import PAGE_SIZE, DirtyPages, bitmap_size

        with self._lock:
            slot = self._slots[region.gpa]
            if not slot.flags & uapi.KVM_MEM_LOG_DIRTY_PAGES:
                raise KvmError(f"guest memory {_name(region)} has no dirty log; start it first")
            pages = region.size // PAGE_SIZE
            bitmap = (ctypes.c_char * bitmap_size(pages))()
            log = uapi.kvm_dirty_log(slot=slot.number, dirty_bitmap=ctypes.addressof(bitmap))
            doing = f"reading the dirty log of guest memory {_name(region)}"
            call(self._fd, uapi.KVM_GET_DIRTY_LOG, log, doing=doing)
            if self._manual_protect:
                clear = uapi.kvm_clear_dirty_log(
                    slot=slot.number,
                    num_pages=pages,
                    first_page=0,
                    dirty_bitmap=ctypes.addressof(bitmap),
                )
                call(self._fd, uapi.KVM_CLEAR_DIRTY_LOG, clear, doing=doing)
            return DirtyPages(region.gpa, bitmap.raw)

    def _set_logging(self, region: Region, *, on: bool) -> None:
        slot = self._slots[region.gpa]
        before = slot.flags
        slot.flags &= ~uapi.KVM_MEM_LOG_DIRTY_PAGES
        if on:
            slot.flags |= uapi.KVM_MEM_LOG_DIRTY_PAGES
        if slot.flags != before:
            doing = "starting" if on else "stopping"
            try:
                self._set(slot, region.size, f"{doing} the dirty log of {_name(region)}")
            except BaseException:
                slot.flags = before
                raise

    def _enable_manual_protect(self) -> bool:
        """Have pages write-protected when a reading clears them, not all at every reading."""
        flag = uapi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
        if not self._check_extension(uapi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & flag:
            return False
        enable = uapi.kvm_enable_cap(cap=uapi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
        enable.args[0] = flag
        call(self._fd, uapi.KVM_ENABLE_CAP, enable, doing="enabling manual dirty-log protection")
        return True


def _name(region: Region) -> str:
    return f"{region.gpa:#x}-{region.gpa + region.size - 1:#x}"
