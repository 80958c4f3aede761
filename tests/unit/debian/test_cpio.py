# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The newc archives of the initramfs, read back by a reader of the format."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.debian import cpio

if TYPE_CHECKING:
    from collections.abc import Iterator

names = st.text("abc/._-é", min_size=1, max_size=20)
entries = st.builds(cpio.Entry, names, st.integers(0, 0o177777), st.binary(max_size=50))


def read(archive: bytes) -> Iterator[tuple[int, cpio.Entry]]:
    """Inode and entry of each file, as the kernel's init/initramfs.c reads them."""
    at = 0
    while True:
        header = archive[at : at + 110]
        assert header[:6] == b"070701"
        fields = [int(header[start : start + 8], 16) for start in range(6, 110, 8)]
        inode, mode, size, name_size = fields[0], fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        data = (at + 110 + name_size + 3) & ~3
        entry = cpio.Entry(name[:-1].decode(), mode, archive[data : data + size])
        at = (data + size + 3) & ~3
        if entry.name == "TRAILER!!!":
            assert at == len(archive)
            return
        yield inode, entry


@given(st.lists(entries))
def test_what_goes_in_comes_out(written: list[cpio.Entry]) -> None:
    found = list(read(cpio.archive(written)))
    assert [entry for _, entry in found] == written
    # Files of one inode are hard links to the kernel.
    assert len({inode for inode, _ in found}) == len(written)


def test_each_folder_comes_once_and_before_what_is_in_it() -> None:
    entries = [
        cpio.folder("a"),
        cpio.file("a/b/c", b"1"),
        cpio.file("a/b/d", b"2"),
        cpio.folder("e"),
    ]
    with_folders = [cpio.folder("a"), cpio.folder("a/b"), *entries[1:]]
    assert list(cpio.with_folders(entries)) == with_folders


def test_kinds_of_files() -> None:
    assert stat.S_ISDIR(cpio.folder("bin").mode)
    assert cpio.link("sh", "busybox") == cpio.Entry("sh", stat.S_IFLNK | 0o777, b"busybox")
    program = cpio.file("init", b"#!", 0o755)
    assert stat.S_ISREG(program.mode)
    assert stat.S_IMODE(program.mode) == 0o755
