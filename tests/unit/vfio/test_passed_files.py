# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Files on a file system that a peer may serve are told apart without a call into it."""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import socket
from collections.abc import Iterator

import pytest

from pyvmm.vfio import DeviceError
from pyvmm.vfio.passed_files import check_local, file_system
from pyvmm.vfio.software import DmaTable

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
31 27 0:44 / /mnt/a\\040-\\040ext4\\040b rw,nosuid - fuse.sshfs a:/ rw,user_id=0
127 27 0:45 / /over rw,relatime - overlay overlay rw,lowerdir=/mnt
"""


def fdinfo(mount: int) -> str:
    return f"pos:\t0\nflags:\t0100002\nmnt_id:\t{mount}\nino:\t27\n"


@pytest.mark.parametrize(
    ("mount", "kind"),
    [(22, "proc"), (27, "ext4"), (31, "fuse.sshfs"), (127, "overlay"), (2, ""), (7, "")],
)
def test_the_type_of_a_mount(mount: int, kind: str) -> None:
    assert file_system(fdinfo(mount), MOUNTINFO) == kind


def test_an_unknown_mount() -> None:
    assert file_system("pos:\t0\n", MOUNTINFO) == ""
    assert file_system(fdinfo(27), "") == ""


@pytest.fixture
def file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A file that takes no seals, also where /tmp is a tmpfs."""
    fd = os.open(f"{tmp_path}/file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 4096)
    control = fcntl.fcntl

    def without_seals(which: int, command: int, argument: int = 0) -> int:
        if which == fd and command == fcntl.F_GET_SEALS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return control(which, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", without_seals)
    try:
        yield fd
    finally:
        os.close(fd)


def on(monkeypatch: pytest.MonkeyPatch, mount: int) -> None:
    """Let every file be on a mount of MOUNTINFO, and fail any call into a file system."""

    def opened(path: str) -> io.StringIO:
        return io.StringIO(MOUNTINFO if path == "/proc/self/mountinfo" else fdinfo(mount))

    monkeypatch.setattr(builtins, "open", opened)

    def would_wait(*_: object) -> None:
        raise AssertionError("this may take for ever")

    for name in ("fstat", "pread", "readv", "fstatvfs"):
        monkeypatch.setattr(os, name, would_wait)


def test_local_files(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        on(context, 27)
        check_local(file, "it")


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        (31, r"a file on a file system \(fuse.sshfs\) that may never answer: EINVAL .*memfd"),
        (127, r"\(overlay\)"),
        (3, "on no file system of ours"),
    ],
)
def test_files_of_others(file: int, monkeypatch: pytest.MonkeyPatch, mount: int, why: str) -> None:
    table = DmaTable()
    with monkeypatch.context() as context:
        on(context, mount)
        with pytest.raises(DeviceError, match=why) as caught:
            check_local(file, "it")
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(DeviceError, match=why):
            table.map(0, 4096, address=0, fd=file)
    table.close()


def test_memory_is_known_by_its_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.memfd_create("memory")
    with monkeypatch.context() as context:
        on(context, 31)
        check_local(fd, "it")
    os.close(fd)


def test_what_is_on_no_file_system() -> None:
    fd = os.eventfd(0)  # as a VFIO device is: of the kernel's own
    check_local(fd, "it")
    null = os.open("/dev/null", os.O_RDONLY)
    check_local(null, "it")
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(DeviceError, match="EINVAL"):
        check_local(sock.fileno(), "it")
    os.close(null)
    os.close(fd)
    with pytest.raises(DeviceError, match="EBADF"):
        check_local(fd, "it")
