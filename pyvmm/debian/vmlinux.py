# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The uncompressed kernel out of a bzImage: it starts by PVH, in half the time.

Source: the kernel's Documentation/arch/x86/boot.rst, the fields setup_sects, header,
payload_offset and payload_length.
"""

from __future__ import annotations

import struct

from .decompress import decompress
from .errors import DebianError

_SETUP_SECTS = 0x1F1
_HEADER = 0x202
_PAYLOAD = 0x248
_SECTOR = 512
_PAYLOAD_SINCE = 0x0208  # the version of the boot protocol


def extract_vmlinux(image: bytes, name: str) -> bytes:
    """The ELF file in image, a bzImage that messages call name. Raises DebianError."""
    cure = "fetch the kernel again"
    if len(image) < _PAYLOAD + 8 or image[_HEADER : _HEADER + 4] != b"HdrS":
        raise DebianError(f"{name} is no bzImage: it has no setup header", cure)
    (version,) = struct.unpack_from("<H", image, _HEADER + 4)
    if version < _PAYLOAD_SINCE:
        raise DebianError(
            f"{name} has boot protocol {version:#06x}, which tells of no payload", cure
        )
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = ((image[_SETUP_SECTS] or 4) + 1) * _SECTOR + offset
    if not 0 < length <= len(image) - start:
        raise DebianError(f"{name} is cut off: its payload lies outside of it", cure)
    vmlinux = decompress(image[start : start + length], f"the payload of {name}")
    if not vmlinux.startswith(b"\x7fELF"):
        raise DebianError(
            f"the payload of {name}, which starts with {image[start : start + 4].hex()}, "
            "is no ELF file in a known compression",
            cure,
        )
    return vmlinux
