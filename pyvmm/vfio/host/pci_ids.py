# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Names of vendors, devices and classes, from the host's pci.ids (pci.ids(5)).

The file has 40,000 lines, of which a listing needs a few: it is searched, not parsed. Without it
classes still have names.
"""

from __future__ import annotations

import os

from . import sysfs

PLACES = (
    "usr/share/misc/pci.ids",
    "var/lib/pciutils/pci.ids",
    "usr/share/hwdata/pci.ids",
    "usr/local/share/pci.ids",
    "usr/share/pci.ids",
)
"""Where distributions, and update-pciids, keep it; relative to the root."""

_PACKED = tuple(f"{place}.gz" for place in PLACES)

_BASE_CLASSES = {
    0x00: "Unclassified device",
    0x01: "Mass storage controller",
    0x02: "Network controller",
    0x03: "Display controller",
    0x04: "Multimedia controller",
    0x05: "Memory controller",
    0x06: "Bridge",
    0x07: "Communication controller",
    0x08: "Generic system peripheral",
    0x09: "Input device controller",
    0x0B: "Processor",
    0x0C: "Serial bus controller",
    0x0D: "Wireless controller",
    0x0F: "Satellite communications controller",
    0x10: "Encryption controller",
    0x11: "Signal processing controller",
    0x12: "Processing accelerators",
    0x13: "Non-Essential Instrumentation",
    0xFF: "Unassigned class",
}
_SUB_CLASSES = {
    0x0101: "IDE interface",
    0x0104: "RAID bus controller",
    0x0106: "SATA controller",
    0x0107: "Serial Attached SCSI controller",
    0x0108: "Non-Volatile memory controller",
    0x0200: "Ethernet controller",
    0x0300: "VGA compatible controller",
    0x0302: "3D controller",
    0x0403: "Audio device",
    0x0600: "Host bridge",
    0x0601: "ISA bridge",
    0x0604: "PCI bridge",
    0x0700: "Serial controller",
    0x0C03: "USB controller",
    0x0C05: "SMBus",
}


class PciIds:
    """The names that a pci.ids has; what it lacks is ""."""

    def __init__(self, text: bytes = b"") -> None:
        """text is the file's content; without it there are class names alone."""
        self._text = b"\n" + text

    @classmethod
    def of_host(cls, *, root: str | os.PathLike[str] = "/") -> PciIds:
        """Those of this host's file, wherever it is; of none if there is no file."""
        for place in PLACES:
            text = sysfs.read_bytes(os.path.join(os.fspath(root), place))
            if text:
                return cls(text)
        for place in _PACKED:
            text = sysfs.read_bytes(os.path.join(os.fspath(root), place))
            if text:
                import gzip
                import zlib

                try:
                    return cls(gzip.decompress(text))
                except (OSError, EOFError, zlib.error):
                    continue
        return cls()

    def __bool__(self) -> bool:
        return len(self._text) > 1

    def vendor(self, vendor: int) -> str:
        return self._find(f"{vendor:04x}")

    def device(self, vendor: int, device: int) -> str:
        return self._find(f"{vendor:04x}", f"{device:04x}")

    def subsystem(self, vendor: int, device: int, subvendor: int, subdevice: int) -> str:
        return self._find(f"{vendor:04x}", f"{device:04x}", f"{subvendor:04x} {subdevice:04x}")

    def kind(self, class_code: int) -> str:
        """The name of a class (24 bits), as particular as there is one."""
        base, sub = class_code >> 16, class_code >> 8
        found = self._find(f"C {base:02x}", f"{sub & 0xFF:02x}") or self._find(f"C {base:02x}")
        if found:
            return found
        return _SUB_CLASSES.get(sub) or _BASE_CLASSES.get(base, "Device of an unknown class")

    def name(self, vendor: int, device: int, class_code: int) -> str:
        """What people call a device: vendor and device if they are known, else its class."""
        names = self.vendor(vendor), self.device(vendor, device)
        return " ".join(names) if all(names) else f"{names[0]} {self.kind(class_code)}".strip()

    def _find(self, *keys: str) -> str:
        """Follow keys from level to level; a level is indented by one tab more than the last."""
        text, name = self._text, b""
        for level, key in enumerate(keys):
            indent = b"\n" + b"\t" * level
            start = text.find(indent + key.encode() + b"  ")
            if start < 0:
                return ""
            name, _, rest = text[start + 1 :].partition(b"\n")
            name = name.lstrip(b"\t")[len(key) + 2 :]
            text = b"\n" + rest[: _end_of_level(rest, level)]
        return name.decode(errors="replace").strip()


def _end_of_level(rest: bytes, level: int) -> int:
    """Where the entries below one end: at a line that is indented no more than its own."""
    position, deeper = 0, b"\t" * (level + 1)
    while position < len(rest):
        if not rest.startswith((deeper, b"#", b"\n"), position):
            return position
        position = rest.find(b"\n", position) + 1 or len(rest)
    return position
