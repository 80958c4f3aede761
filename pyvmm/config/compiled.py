# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Configs that were found good, kept as plain data, as Python keeps .pyc files.

An entry is one file in the user's cache folder, named after the config's path, and after the
overrides if there are any:

    what made it    pyvmm's and Python's version, size and time of each file of this package, $HOME
    overrides       and the current directory, if there are any
    source          the whole text of the config
    checksum        of what follows
    plain data      marshalled

It counts only if all of the first three are byte for byte what they are now, so that nothing needs
to be invalidated. marshal trusts its input: an entry is believed only in a file and a folder that
are the user's own and that nobody else can write. At any doubt there is no entry; that one could
not be written is nobody's trouble.
"""

from __future__ import annotations

import marshal
import os
import sys
from stat import S_ISDIR, S_ISREG

from pyvmm import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from .schema import VmConfig

MAX_ENTRIES = 256
_MAX_SIZE = 4 << 20
_CHECKSUM_SIZE = 8
_OTHERS_WRITE = 0o022
_SCALARS = (str, int, float, bool, type(None))


class Loaded:
    """What a struct of the schema holds, as attributes: read-only, and equal if they all are."""

    def __init__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name}: a config that was loaded can't be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: a config that was loaded can't be changed")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Loaded) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a Device's: its options can't be hashed

    def __repr__(self) -> str:
        return f"Loaded({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def as_config(plain: dict[str, Any]) -> VmConfig:
    """A Loaded with the attributes of a VmConfig, from its plain data.

    The data of a struct just validated takes this way too, so that a VM's first run and its
    second can't differ.
    """
    memory = Loaded(plain["memory"])
    cpu = plain["cpu"]
    cpu = Loaded({**cpu, "cpuid": tuple([Loaded(mask) for mask in cpu["cpuid"]])})
    initrd = plain["initrd"] and Loaded(plain["initrd"])
    devices = tuple([Loaded(device) for device in plain["devices"]])
    # To make a VmConfig takes msgspec. A test holds the attributes to be the same, and their types.
    parts = {"memory": memory, "cpu": cpu, "initrd": initrd, "devices": devices}
    return Loaded({**plain, **parts})  # type: ignore[return-value]


def lookup(
    path: str, source: bytes, overrides: Mapping[str, object] | None = None
) -> dict[str, Any] | None:
    """The plain data of the config at path, if source and overrides are what it was made from."""
    try:
        given = _given(overrides)
        folder, name = _place(path, given)
        entry = _read(folder, name)
        head = _head(source, given)
    except (OSError, ValueError):
        return None
    if not entry.startswith(head):
        return None
    body = entry[len(head) + _CHECKSUM_SIZE :]
    if entry[len(head) : len(head) + _CHECKSUM_SIZE] != _checksum(body):
        return None
    plain: dict[str, Any] = marshal.loads(body)
    return plain


def store(
    path: str,
    source: bytes,
    plain: dict[str, Any],
    overrides: Mapping[str, object] | None = None,
) -> None:
    """Keep plain as what the config at path, source, means with overrides."""
    try:
        given = _given(overrides)
        folder, name = _place(path, given)
        body = marshal.dumps(plain)
        _make(folder)
        _write(folder, name, _head(source, given) + _checksum(body) + body)
    except (OSError, ValueError):
        return


def _given(overrides: Mapping[str, object] | None) -> bytes:
    """Overrides, and where relative paths in them start. Raises ValueError for all but scalars."""
    if not overrides:
        return b""
    if any(type(value) not in _SCALARS for value in overrides.values()):
        raise ValueError("an override that can't be told from others by its repr")
    return f"{os.getcwd()!a} {list(overrides.items())!a}".encode()


def _place(path: str, given: bytes = b"") -> tuple[str, str]:
    """The folder and name of the entry for the config at path.

    Raises ValueError if it can't have one.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # the XDG base directory specification has it ignored then
        cache = os.path.expanduser("~/.cache")
    name = os.path.abspath(path).replace("%", "%25").replace("/", "%2F")
    if given:
        name += f"%{_checksum(given).hex()}"
    if len(os.fsencode(name)) > 200 or not os.path.isabs(cache):
        raise ValueError("no place for an entry")
    return f"{cache}/pyvmm/configs", name


def _head(source: bytes, given: bytes) -> bytes:
    made_by = [__version__, sys.implementation.cache_tag, sys.hexversion, os.environ.get("HOME")]
    with os.scandir(os.path.dirname(__file__)) as files:
        for file in sorted(files, key=lambda file: file.name):
            if file.name.endswith(".py"):
                status = file.stat()
                made_by += [file.name, status.st_size, status.st_mtime_ns]
    return f"{made_by!a} {len(given)} {len(source)}\n".encode() + given + source


def _checksum(body: bytes) -> bytes:
    """The remainder by a Mersenne prime: catches any damage of less than 61 bits in a row.

    Damage, not forgery, which ownership keeps out; and it needs no import, as zlib's would. The
    byte at the end makes the length count too, and zeros.
    """
    number = int.from_bytes(body + b"\1", "little")
    return (number % ((1 << 61) - 1)).to_bytes(_CHECKSUM_SIZE, "little")


def _read(folder: str, name: str) -> bytes:
    """Raises OSError if there is no entry, or none to be trusted."""
    _check_own(os.stat(folder, follow_symlinks=False), S_ISDIR)
    fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        _check_own(status, S_ISREG)
        if status.st_size > _MAX_SIZE:
            raise PermissionError("too large for an entry")
        return os.read(fd, status.st_size)
    finally:
        os.close(fd)


def _check_own(status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raises PermissionError unless it is of the right kind and only this user can write it."""
    if (
        not is_kind(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & _OTHERS_WRITE
    ):
        raise PermissionError("not this user's alone")


def _make(folder: str, levels: int = 3) -> None:
    """Make folder, and where missing the levels - 1 above it; only in a folder of the user's own.

    (Under sudo, $HOME may be the caller's: what root made there would only be in the way.)
    """
    if os.path.exists(folder):
        return
    above = os.path.dirname(folder)
    if levels > 1:
        _make(above, levels - 1)
    if os.stat(above).st_uid != os.geteuid():
        raise PermissionError(f"{above} is another user's")
    os.mkdir(folder, 0o700)


def _write(folder: str, name: str, entry: bytes) -> None:
    """Put the entry in place at once: who reads meanwhile sees the old one or the new one."""
    _check_own(os.stat(folder, follow_symlinks=False), S_ISDIR)
    entries = os.listdir(folder)
    if len(entries) >= MAX_ENTRIES:  # configs that were moved or deleted leave theirs behind
        for old in entries:
            os.unlink(f"{folder}/{old}")
    fresh = f"{folder}/{os.getpid()}.tmp"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            whole = os.write(fd, entry) == len(entry)
        finally:
            os.close(fd)
        if not whole:
            raise OSError("the entry was cut short")
        os.rename(fresh, f"{folder}/{name}")
    except OSError:
        os.unlink(fresh)
        raise
