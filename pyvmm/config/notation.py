# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The short notations people write values in: 64M, 03.0, a path beside the config.

Each function takes what YAML gave and the folder that relative paths start from, and returns the
value meant. What it has no notation for it returns as it is: the schema's types judge it. Text
that is meant as the notation but is wrong raises ValueError. The ..._JSON constants say the same
to JSON Schema.
"""

from __future__ import annotations

import os
import re
from typing import Any

from pyvmm.debian.errors import NoSuchKernel
from pyvmm.debian.names import KERNELS, PREFIX, VMLINUZ, is_debians, parse

_MEMORY_BITS = 46
MOST_MEMORY = 1 << _MEMORY_BITS
"""Bytes: all that Linux maps with page tables of four levels, and hosts have less by far."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"^([0-9]{1,18}) ?(?:([KMGTkmgt])(?:iB)?)?$"
# Device 00 is the host bridge's; ".0" to ".7" is the function.
_ADDRESS = r"^(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([01][0-9A-Fa-f])\.([0-7])$"
_UNIX = "unix:"
_OWN_MODEL = r"(.+\.py)(:\w+)?"
_SLOT = r"^([01]?[0-9A-Fa-f])\.([0-7])$"

SIZE_JSON: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": _SIZE},
        {"type": "integer", "minimum": 1 << 20, "maximum": MOST_MEMORY},
    ]
}
SLOT_JSON: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": _SLOT},
        {"type": "integer", "minimum": 1, "maximum": 9},
        # YAML takes 03.0 without quotes for a number. (And JSON Schema takes 10 for 10.0, so that
        # only slot() tells them apart.)
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 20},
        {"type": "null"},
    ]
}


PATH_JSON: dict[str, Any] = {"type": "string", "minLength": 1}
KERNEL_JSON: dict[str, Any] = {
    "anyOf": [
        {"enum": [f"{PREFIX}{name}{end}" for end in ("", VMLINUZ) for name in KERNELS]},
        {**PATH_JSON, "not": {"pattern": f"^{PREFIX}"}},
        {"type": "null"},
    ]
}
ADDRESS_JSON: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": _ADDRESS}, {"type": "null"}]
}
SOCKET_JSON: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^{_UNIX}."}, {"type": "null"}]
}


class Explained(ValueError):
    """Its message is a whole one, and takes the place of what the schema expects."""


class Ambiguous(Explained):
    """What people may mean in two ways; the message has both spellings."""


def size(value: object, base: str) -> object:
    """Bytes: 64M and 64MiB are 64 << 20. Units are powers of 1024.

    Raises Explained for more than any guest has: that is no size to correct digit by digit.
    """
    found = value
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value)
        if match is None:
            raise ValueError("no size")
        found = int(match[1]) * _UNITS[(match[2] or "").upper()]
    if isinstance(found, int) and found > MOST_MEMORY:
        raise Explained(
            f"expected {MOST_MEMORY >> 40}T at most, as far as addresses of {_MEMORY_BITS} bits "
            f"reach, got {value!r}; give the guest less, and no more than this host has"
        )
    return found


def slot(value: object, base: str) -> object:
    """PCI_DEVFN: "03.1", as lspci writes it (hexadecimal), or a digit, the device's number.

    Raises Ambiguous for larger numbers: 10 would be device 0a, and 10.0 is device 10.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if 9 < value < 32:
            raise Ambiguous(_two_slots(value))
        return value << 3
    if isinstance(value, float):
        # 03.0 without quotes. The decimal digits of such a number are the text's own.
        value = repr(value)
    if not isinstance(value, str):
        return value
    match = re.fullmatch(_SLOT, value)
    if match is None:
        raise ValueError("no slot")
    return int(match[1], 16) << 3 | int(match[2])


def _two_slots(device: int) -> str:
    text = f'expected a slot as lspci writes it, got {device}: "{slot_text(device << 3)}"'
    same_digits = int(str(device), 16)
    if same_digits < 32:
        text += f' is device {device}, "{slot_text(same_digits << 3)}" is device {same_digits}'
    return text


def address(value: object, base: str) -> object:
    """A PCI address of the host, as `lspci -D` writes it; the domain may be left out."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(_ADDRESS, value)
    if match is None:
        raise ValueError("no PCI address")
    domain, bus, device, function = match.groups(default="0000")
    return f"{domain}:{bus}:{device}.{function}".lower()


def slot_text(devfn: int) -> str:
    """The notation of a slot: 25 is 03.1."""
    return f"{devfn >> 3:02x}.{devfn & 7}"


def path(value: object, base: str) -> object:
    """An absolute path: ~ is expanded, relative ones start at base."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value:
        return value
    return os.path.normpath(os.path.join(base, os.path.expanduser(value)))


def options(value: object, base: str) -> object:
    """Options of a model: text that begins with ./ or ../ is a path that starts at base."""
    if isinstance(value, dict):
        return {name: options(option, base) for name, option in value.items()}
    if isinstance(value, list | tuple):
        return [options(item, base) for item in value]
    if isinstance(value, str) and value.startswith(("./", "../")):
        return path(value, base)
    return value


def model(value: object, base: str) -> object:
    """A model's name. One that is a file, mine.py or mine.py:Class, starts at base."""
    match = re.fullmatch(_OWN_MODEL, value, re.S) if isinstance(value, str) else None
    if match is None:
        return value
    return f"{path(match[1], base)}{match[2] or ''}"


def features(value: object, base: str) -> object:
    """Names to true or false. Raises Ambiguous for others, such as off, which is text in YAML."""
    if isinstance(value, dict):
        for name, wanted in value.items():
            if not isinstance(wanted, bool):
                raise Ambiguous(f"expected true or false for {name}, got {wanted!r}")
    return value


def kernel(value: object, base: str) -> object:
    """A kernel of Debian's, as debian:NAME, or a path. Raises Explained for a name of none."""
    if not isinstance(value, str) or not is_debians(value):
        return path(value, base)
    try:
        parse(value)
    except NoSuchKernel as error:
        raise Explained(str(error)) from None
    return value


def initrd(value: object, base: str) -> object:
    """A path stands for a mapping with the key file alone."""
    found = path(value, base)
    if found == "":
        raise ValueError("no path")
    return {"file": found} if isinstance(found, str) else found


def serial(value: object, base: str) -> object:
    """One of the words stdio, none and pty, a socket, or a path."""
    if value in ("stdio", "none", "pty"):
        return value
    if isinstance(value, str) and value.startswith(_UNIX):
        return socket(value, base)
    return path(value, base)


def socket(value: object, base: str) -> object:
    """A UNIX socket to listen at, unix:PATH, with an absolute path."""
    if not isinstance(value, str):
        return value
    if not value.startswith(_UNIX) or value == _UNIX:
        raise ValueError("no socket")
    return f"{_UNIX}{path(value.removeprefix(_UNIX), base)}"


def rom(value: object, base: str) -> object:
    """The word none, or a path."""
    return value if value == "none" else path(value, base)


def written_out(data: dict[str, object]) -> dict[str, object]:
    """A whole config, with ``memory: 64M`` as the ``memory: {size: 64M}`` that it stands for."""
    memory = data.get("memory")
    if isinstance(memory, str | int | float):
        return {**data, "memory": {"size": memory}}
    return data
