# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The archive format of an initramfs: newc, by the kernel's buffer-format.rst."""

from __future__ import annotations

from stat import S_IFDIR, S_IFLNK, S_IFREG
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TRAILER = "TRAILER!!!"


class Entry(NamedTuple):
    """A file of the archive, owned by root. name is relative to the archive's root."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Entry:
    return Entry(name, S_IFDIR | 0o755)


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(name, S_IFREG | mode, data)


def link(name: str, target: str) -> Entry:
    return Entry(name, S_IFLNK | 0o777, target.encode())


def with_folders(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same, each after all folders that it is in; each folder once."""
    there: set[str] = set()
    for entry in entries:
        parts = entry.name.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in there:
                there.add(above)
                yield folder(above)
        there.add(entry.name)
        yield entry


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of entries, each after the folder it is in. The same entries, the same bytes."""
    parts: list[bytes] = []
    for inode, entry in enumerate([*entries, Entry(_TRAILER, 0)], start=1):
        name = entry.name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, name's size, 0
        fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        parts += _padded(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        parts += _padded(entry.data)
    return b"".join(parts)


def _padded(data: bytes) -> tuple[bytes, bytes]:
    return data, bytes(-len(data) % 4)
