# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Hwpts: how the devices of an IOAS are attached to it, so that dirty pages can be tracked.

Attached to the IOAS itself, a device gets page tables (an HWPT) that the kernel makes and shares
as it likes. Where the IOMMU can track dirty pages the HWPTs are made here instead, to do that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
from collections.abc import Callable

from ...uapi import iommufd as uapi
from ..dirty import DirtyTracking
from ..dirty_bitmap import bitmap_words, dirty_ranges
from ..errors import DeviceError
from ..intervals import Interval, Intervals, merge
from ..mapping import PAGE_SIZE
from .cdev import Cdev
from .iommufd import Iommufd


class Hwpts:
    """The page tables of one IOAS, each of which goes with its last device.

    Not safe by itself to call from several threads.
    """

    def __init__(self, iommufd: Iommufd, ioas: int) -> None:
        self._iommufd = iommufd
        self._ioas = ioas
        self._users: dict[int, int] = {}
        self._untracked = 0
        self._tracking = False

    @property
    def dirty(self) -> DirtyTracking | None:
        """None unless all devices that there are can be tracked."""
        if self._untracked or not self._users:
            return None
        return HwptDirty(self)

    @property
    def tables(self) -> tuple[int, ...]:
        """The IDs of those that track."""
        return tuple(self._users)

    def attach(self, cdev: Cdev, device: int) -> Callable[[], None]:
        """Attach a bound device; call what is returned once its file is closed.

        Raises DeviceError.
        """
        capabilities = self._iommufd.hw_capabilities(device)
        if not capabilities & uapi.IOMMU_HW_CAP_DIRTY_TRACKING:
            cdev.attach(self._ioas)
            self._untracked += 1
            return self._untracked_left
        table = self._shared(cdev) or self._own(cdev, device)
        self._users[table] = self._users.get(table, 0) + 1
        return lambda: self._left(table)

    def track(self, on: bool) -> None:
        """Switch it on or off in all of them. Raises DeviceError."""
        for table in self._users:
            self._switch(table, on)
        self._tracking = on

    def _shared(self, cdev: Cdev) -> int | None:
        """Attach to page tables of devices before it, if there are any that suit."""
        for table in self._users:
            try:
                cdev.attach(table)
            except DeviceError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                return table
        return None

    def _own(self, cdev: Cdev, device: int) -> int:
        """Attach to new page tables."""
        request = uapi.iommu_hwpt_alloc(
            flags=uapi.IOMMU_HWPT_ALLOC_DIRTY_TRACKING, dev_id=device, pt_id=self._ioas
        )
        doing = f"making page tables for {cdev.function}"
        self._iommufd.call("IOMMU_HWPT_ALLOC", request, doing)
        table = int(request.out_hwpt_id)
        try:
            cdev.attach(table)
            if self._tracking:
                self._switch(table, True)
        except BaseException:
            cdev.close()  # page tables in use can't be destroyed
            self._iommufd.destroy(table)
            raise
        return table

    def _left(self, table: int) -> None:
        self._users[table] -= 1
        if not self._users[table]:
            del self._users[table]
            # A device whose BARs are still mapped is still attached: then they go with the iommufd.
            with contextlib.suppress(DeviceError):
                self._iommufd.destroy(table)

    def _untracked_left(self) -> None:
        self._untracked -= 1

    def _switch(self, table: int, on: bool) -> None:
        request = uapi.iommu_hwpt_set_dirty_tracking(
            hwpt_id=table, flags=uapi.IOMMU_HWPT_DIRTY_TRACKING_ENABLE if on else 0
        )
        doing = f"switching dirty tracking {'on' if on else 'off'} in page tables {table}"
        self._iommufd.call("IOMMU_HWPT_SET_DIRTY_TRACKING", request, doing)

    def report(self, table: int, within: Interval, page_size: int) -> Intervals:
        """What devices of one of them have written, and forget it. Raises DeviceError."""
        words = bitmap_words(within, page_size)
        request = uapi.iommu_hwpt_get_dirty_bitmap(
            hwpt_id=table,
            iova=within.start,
            length=within.size,
            page_size=page_size,
            data=ctypes.addressof(words),
        )
        doing = f"asking page tables {table} what of {within} was written"
        self._iommufd.call("IOMMU_HWPT_GET_DIRTY_BITMAP", request, doing)
        return dirty_ranges(words, within, page_size)


class HwptDirty(DirtyTracking):
    """Dirty tracking by the IOMMU's page tables: what was really written."""

    def __init__(self, tables: Hwpts) -> None:
        self._tables = tables

    @property
    def page_size(self) -> int:
        return PAGE_SIZE

    def start(self) -> None:
        self._tables.track(True)

    def stop(self) -> None:
        self._tables.track(False)

    def report(self, within: Interval) -> Intervals:
        return merge(
            interval
            for table in self._tables.tables
            for interval in self._tables.report(table, within, PAGE_SIZE)
        )
