# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_FEATURE: what some devices can do beyond the rest, and how to ask them.

Migration and DMA logging have interfaces of their own: see Device.migration and
Device.dma_logging.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag

from ..uapi import vfio
from .errors import DeviceError

Cures = Mapping[int, str] | Callable[[int], str | None]
"""By errno: what the cause is, and what to do about it, where that is known."""

NO_CURES: Cures = {}


class Feature(IntEnum):
    """VFIO_DEVICE_FEATURE_*."""

    PCI_VF_TOKEN = vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN
    MIGRATION = vfio.VFIO_DEVICE_FEATURE_MIGRATION
    MIG_DEVICE_STATE = vfio.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
    LOW_POWER_ENTRY = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
    LOW_POWER_ENTRY_WITH_WAKEUP = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
    LOW_POWER_EXIT = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_EXIT
    DMA_LOGGING_START = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_START
    DMA_LOGGING_STOP = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP
    DMA_LOGGING_REPORT = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT
    MIG_DATA_SIZE = vfio.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
    BUS_MASTER = vfio.VFIO_DEVICE_FEATURE_BUS_MASTER
    DMA_BUF = vfio.VFIO_DEVICE_FEATURE_DMA_BUF
    MIG_PRECOPY_INFOv2 = vfio.VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2
    ZPCI_ERROR = vfio.VFIO_DEVICE_FEATURE_ZPCI_ERROR


def feature_name(feature: int) -> str:
    """As messages call it: by its name, or by its number if it is none that is known here."""
    return Feature(feature).name if feature in set(Feature) else str(feature)


class Access(IntFlag):
    """What can be done with a feature; nothing, if the device doesn't have it."""

    GET = vfio.VFIO_DEVICE_FEATURE_GET
    SET = vfio.VFIO_DEVICE_FEATURE_SET


class Features(ABC):
    """The features of one device. All methods raise VfioError."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The device's, for messages."""

    @abstractmethod
    def probe(self, feature: int) -> Access:
        """What can be done with a feature. Raises VfioError for what is no answer to that."""

    def supported(self) -> dict[Feature, Access]:
        """The features that the device has."""
        probed = {feature: self.probe(feature) for feature in Feature}
        return {feature: access for feature, access in probed.items() if access}

    @abstractmethod
    def get(self, feature: int, data: bytes, *, cures: Cures = NO_CURES) -> bytes:
        """Have a feature's structure filled in, beginning with data."""

    @abstractmethod
    def set(self, feature: int, data: bytes = b"", *, cures: Cures = NO_CURES) -> bytes:
        """Give a feature's structure; tells what has become of it."""


def find_cure(cures: Cures, number: int) -> str | None:
    """The cure for an errno, if it is known."""
    return cures(number) if callable(cures) else cures.get(number)


def lacking(name: str, what: str, cure: str) -> DeviceError:
    """The error for what a device hasn't got (ENOTTY, as the kernel says it)."""
    return DeviceError.answered(f"{name}: {what}", errno.ENOTTY, cure)
