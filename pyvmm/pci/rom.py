# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The expansion ROM of an assigned function: the device's own, or a file's contents.

Layout: PCI Firmware 3.3, section 5.1. The guest reads a copy: to read a device's own is slow, and
it can be read only while the device decodes memory. So the copy is made at the guest's first
access, and anew after a reset of the function.
"""

from __future__ import annotations

import os
import stat
import threading

from pyvmm.uapi.ioctl import failure
from pyvmm.uapi.vfio import VFIO_PCI_ROM_REGION_INDEX
from pyvmm.vfio import Device, VfioError

from .errors import BadRom
from .guard import Guard

LARGEST = 16 << 20
"""Bytes that a ROM may have: 24 bits of its BAR can be zero, as no guest expects more."""

_SIGNATURE = b"\x55\xaa"
_LENGTH_AT = 2  # in units of 512 bytes
_UNIT = 512
_CHECKSUM_AT = 6
_POINTER_AT = 0x18  # of the PCI data structure
_STRUCTURE = b"PCIR"
_VENDOR_AT, _DEVICE_AT, _STRUCTURE_SIZE = 4, 6, 24


def read_rom_file(path: str) -> bytes:
    """The image in a file. Raises BadRom."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadRom(f"rom {path}: it is no file; name one that is")
            image = file.read(LARGEST + 1)
    except OSError as error:
        cure = "check the path, or have the device's own: take rom out of the config"
        raise BadRom(failure(f"reading rom {path}", "open", error.errno or 0, cure)) from None
    if len(image) > LARGEST:
        raise BadRom(
            f"rom {path}: it has more than {LARGEST >> 20} MiB, which no ROM has; name another"
        )
    if image[:2] != _SIGNATURE:
        raise BadRom(
            f"rom {path}: it is no expansion ROM, as it doesn't begin with 55 aa; name one"
        )
    length = image[_LENGTH_AT] * _UNIT if len(image) > _LENGTH_AT else 0
    if not 0 < length <= len(image):
        raise BadRom(
            f"rom {path}: it is cut off; it says that its first image has {length} bytes, "
            f"and it has {len(image)}; copy it again"
        )
    return image


def fit(image: bytes, vendor: int, device: int) -> bytes:
    """The same with the device's own id, if the ROM is for another one of the vendor's.

    Firmware doesn't run it otherwise. Intel's graphics of one family share a ROM, whose checksum
    may be wrong at that.
    """
    at = int.from_bytes(image[_POINTER_AT : _POINTER_AT + 2], "little")
    structure = image[at : at + _STRUCTURE_SIZE]
    ids = structure[_VENDOR_AT : _VENDOR_AT + 4]
    is_whole = image[:2] == _SIGNATURE and len(structure) == _STRUCTURE_SIZE
    if not is_whole or not structure.startswith(_STRUCTURE):
        return image
    if ids[:2] != vendor.to_bytes(2, "little") or ids[2:] == device.to_bytes(2, "little"):
        return image
    fitted = bytearray(image)
    fitted[at + _DEVICE_AT : at + _DEVICE_AT + 2] = device.to_bytes(2, "little")
    fitted[_CHECKSUM_AT] = 0
    fitted[_CHECKSUM_AT] = -sum(fitted[: fitted[_LENGTH_AT] * _UNIT]) & 0xFF
    return bytes(fitted)


class RomHandler:
    """Answers the accesses to the expansion ROM's BAR. Safe from any thread."""

    def __init__(
        self, device: Device, guard: Guard, ids: tuple[int, int], image: bytes | None = None
    ) -> None:
        """image is the ROM if it isn't the device's own; ids are the device's."""
        self._device = device
        self._guard = guard
        self._ids = ids
        self._given = image
        self._image = image
        self._lock = threading.Lock()  # who reads the device's

    def forget(self) -> None:
        """The device has been reset: what its ROM holds may have changed."""
        self._image = self._given

    def read(self, offset: int, size: int) -> int:
        image = self._image
        if image is None:
            with self._lock:
                image = self._image
                if image is None:
                    self._image = image = self._load()
        found = image[offset : offset + size]
        nothing = (1 << 8 * size) - (1 << 8 * len(found))
        return int.from_bytes(found, "little") | nothing

    def write(self, _offset: int, _size: int, _value: int) -> None:
        """The guest can't."""

    def _load(self) -> bytes:
        if self._guard.gone:
            return b""
        size = self._device.region_info(VFIO_PCI_ROM_REGION_INDEX).size
        try:
            image = self._device.region_read(VFIO_PCI_ROM_REGION_INDEX, 0, size)
        except VfioError as error:
            self._guard.failed("expansion ROM not read", error)
            return b""
        return fit(image, *self._ids)
