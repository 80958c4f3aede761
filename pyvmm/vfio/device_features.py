# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DeviceFeatures: what a device's migration and DMA logging are in the bytes of features.

The structures are those of <linux/vfio.h>; what they point to there, follows them here, and a
migration's data has no file. So vfio-user's messages have them.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from ..uapi.vfio import VFIO_MIGRATION_P2P
from .device import Device
from .dirty_bitmap import bitmap_bytes, pack_dirty
from .errors import DeviceError
from .features import NO_CURES, Access, Cures, Feature, Features, feature_name, lacking
from .intervals import Interval
from .migration import MIG_DATA_SIZE, MIG_STATE, MIGRATION
from .migration_states import MigrationState

LOGGING_CONTROL = struct.Struct("=QII")
"""page_size, num_ranges, reserved; then the ranges"""
LOGGING_RANGE = struct.Struct("=QQ")
"""iova, length"""
LOGGING_REPORT = struct.Struct("=QQQ")
"""iova, length, page_size; then, in the answer, the bitmap"""

MAX_BITMAP = 1 << 20
"""The most bytes of a bitmap that are reported at once."""

_MIGRATION = {
    Feature.MIGRATION: Access.GET,
    Feature.MIG_DEVICE_STATE: Access.GET,
    Feature.MIG_DATA_SIZE: Access.GET,
}
_LOGGING = {
    Feature.DMA_LOGGING_START: Access.SET,
    Feature.DMA_LOGGING_STOP: Access.SET,
    Feature.DMA_LOGGING_REPORT: Access.GET,
}


class DeviceFeatures(Features):
    """The features of any device that has an interface for them. It keeps nothing.

    Migration states are set by Device.migration: the stream that begins has to be somebody's.
    Those for peer-to-peer DMA are left out, as vfio-user does without them.
    """

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def name(self) -> str:
        return self._device.name

    def probe(self, feature: int) -> Access:
        try:
            if feature in _MIGRATION:
                _ = self._device.migration
                return _MIGRATION[Feature(feature)]
            if feature in _LOGGING:
                _ = self._device.dma_logging
                return _LOGGING[Feature(feature)]
        except DeviceError as e:
            if e.errno != errno.ENOTTY:
                raise
        return Access(0)

    def get(self, feature: int, data: bytes, *, cures: Cures = NO_CURES) -> bytes:
        """Features.get(); data may be empty where the answer is all there is."""
        device = self._device
        if feature == Feature.MIGRATION:
            return MIGRATION.pack(device.migration.flags & ~VFIO_MIGRATION_P2P)
        if feature == Feature.MIG_DEVICE_STATE:
            return MIG_STATE.pack(device.migration.get_state(), -1)
        if feature == Feature.MIG_DATA_SIZE:
            return MIG_DATA_SIZE.pack(device.migration.data_size())
        if feature == Feature.DMA_LOGGING_REPORT:
            return self._report(data)
        raise self._lacking(feature, "getting")

    def answer_size(self, feature: int, data: bytes) -> int:
        """How many bytes get() would answer with. Asking for them changes nothing."""
        if feature == Feature.DMA_LOGGING_REPORT:
            within, page_size = self._reported(data)
            return LOGGING_REPORT.size + bitmap_bytes(within, page_size)
        return MIGRATION.size

    def set(self, feature: int, data: bytes = b"", *, cures: Cures = NO_CURES) -> bytes:
        sets: dict[int, Callable[[bytes], bytes]] = {
            Feature.DMA_LOGGING_START: self._start_log,
            Feature.DMA_LOGGING_STOP: self._stop_log,
        }
        if feature not in sets:
            raise self._lacking(feature, "setting")
        return sets[feature](data)

    def _lacking(self, feature: int, verb: str) -> DeviceError:
        what = f"{verb} feature {feature_name(feature)}"
        return lacking(self.name, what, "the device hasn't got it")

    def state_in(self, data: bytes) -> MigrationState:
        """The state that the data of MIG_DEVICE_STATE ask for. Raises DeviceError (EINVAL)."""
        if len(data) != MIG_STATE.size:
            raise self._senseless(f"a migration state of {len(data)} bytes")
        number, _ = MIG_STATE.unpack(data)
        unused = (MigrationState.RUNNING_P2P, MigrationState.PRE_COPY_P2P)
        if number not in set(MigrationState) or number in unused:
            raise self._senseless(f"migration state {number}")
        return MigrationState(number)

    def _start_log(self, data: bytes) -> bytes:
        if len(data) < LOGGING_CONTROL.size:
            raise self._senseless(f"a DMA log's control of {len(data)} bytes")
        page_size, count, reserved = LOGGING_CONTROL.unpack_from(data)
        table = data[LOGGING_CONTROL.size :]
        if len(table) != count * LOGGING_RANGE.size:
            raise self._senseless(f"{count} ranges to log in {len(table)} bytes")
        ranges = [Interval.sized(*range) for range in LOGGING_RANGE.iter_unpack(table)]
        taken = self._device.dma_logging.start(ranges, page_size)
        return LOGGING_CONTROL.pack(taken, count, reserved) + table

    def _stop_log(self, data: bytes) -> bytes:
        self._device.dma_logging.stop()
        return data

    def _report(self, data: bytes) -> bytes:
        within, page_size = self._reported(data)
        dirty = self._device.dma_logging.report(within, page_size)
        return data + pack_dirty(dirty, within, page_size)

    def _reported(self, data: bytes) -> tuple[Interval, int]:
        """The range and the page size that a report is to be of."""
        if len(data) != LOGGING_REPORT.size:
            raise self._senseless(f"a DMA log's report of {len(data)} bytes")
        iova, length, page_size = LOGGING_REPORT.unpack(data)
        within = Interval.sized(iova, length)
        if not page_size or not length or bitmap_bytes(within, page_size) > MAX_BITMAP:
            raise self._senseless(f"a report of {within} in pages of {page_size}")
        return within, page_size

    def _senseless(self, what: str) -> DeviceError:
        return DeviceError.answered(f"{self.name}: {what}", errno.EINVAL)
