# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Calls on a VFIO file: what failed is told, and nothing is taken for more than it is."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pyvmm.vfio import DeviceError, DeviceGone, ProtocolError
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import BDF, FakeKernel, open_file, refuse


def test_a_refusal_tells_what_failed_how_and_the_cure(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_RESET", refuse(errno.EBUSY))
    with pytest.raises(DeviceError) as caught:
        file.ioctl("VFIO_DEVICE_RESET", doing="reset", cures={errno.EBUSY: "wait"})
    assert caught.value.errno == errno.EBUSY
    text = f"{BDF}: reset: VFIO_DEVICE_RESET: EBUSY (Device or resource busy); wait"
    assert str(caught.value) == text


def test_enodev_is_a_device_that_is_gone(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_RESET", refuse(errno.ENODEV))
    with pytest.raises(DeviceGone, match=f"{BDF}: reset: VFIO_DEVICE_RESET: ENODEV"):
        file.ioctl("VFIO_DEVICE_RESET", doing="reset")
    with pytest.raises(DeviceError, match="no such thing"):
        file.ioctl("VFIO_DEVICE_RESET", doing="reset", cures=lambda number: "no such thing")


def test_a_closed_file_is_gone(kernel: FakeKernel) -> None:
    file = open_file()
    file.close()
    file.close()
    assert file.closed
    for access in (
        lambda: file.ioctl("VFIO_DEVICE_RESET", doing="reset"),
        lambda: file.pread(1, 0, doing="reading"),
        lambda: file.pwrite(b"1", 0, doing="writing"),
    ):
        with pytest.raises(DeviceGone, match=f"{BDF}: closed"):
            access()
    assert not kernel.calls


def test_reads_and_writes_are_whole_or_fail(file: KernelFile, tmp_path: object) -> None:
    file.pwrite(b"data", 8, doing="writing")
    assert file.pread(4, 8, doing="reading") == b"data"
    with pytest.raises(DeviceError, match="reading: pread: only 2 of 4 bytes: EIO"):
        file.pread(4, 4094, doing="reading")
    with (
        KernelFile(os.open("/dev/full", os.O_WRONLY), BDF) as stuck,
        pytest.raises(DeviceError, match="writing: pwrite: ENOSPC") as caught,
    ):
        stuck.pwrite(b"data", 0, doing="writing")
    assert caught.value.errno == errno.ENOSPC


def test_a_short_write_fails(file: KernelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pwrite", lambda fd, data, offset: len(data) - 1)
    with pytest.raises(DeviceError, match="writing: pwrite: only 3 of 4 bytes: EIO"):
        file.pwrite(b"data", 0, doing="writing")


def test_an_answer_is_asked_for_until_it_is_complete(kernel: FakeKernel, file: KernelFile) -> None:
    def handler(data: memoryview) -> None:
        (argsz,) = struct.unpack_from("=I", data)
        assert argsz == len(data)
        if argsz >= 40:
            data[32:40] = b"appended"
        struct.pack_into("=I", data, 0, 40)

    kernel.on("VFIO_DEVICE_GET_REGION_INFO", handler)
    question = struct.pack("=III", 0, 0, 5).ljust(32, b"\0")
    reply = file.ask("VFIO_DEVICE_GET_REGION_INFO", question, doing="asking")
    assert reply == struct.pack("=III", 40, 0, 5).ljust(32, b"\0") + b"appended"
    assert [len(data) for data in kernel.asked("VFIO_DEVICE_GET_REGION_INFO")] == [32, 40]
    assert [data[8] for data in kernel.asked("VFIO_DEVICE_GET_REGION_INFO")] == [5, 5]


def test_an_answer_without_end_is_not_waited_for(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_INFO", lambda data: struct.pack_into("=I", data, 0, 0xFFFFFFFF))
    with pytest.raises(ProtocolError, match="an answer of 4294967295 bytes"):
        file.ask("VFIO_DEVICE_GET_INFO", bytes(24), doing="asking")


def test_an_answer_shorter_than_the_question_is_none_the_less_whole(
    kernel: FakeKernel, file: KernelFile
) -> None:
    kernel.on("VFIO_DEVICE_GET_INFO", lambda data: struct.pack_into("=I", data, 0, 16))
    assert len(file.ask("VFIO_DEVICE_GET_INFO", bytes(24), doing="asking")) == 24


def test_a_descriptor_that_is_handed_on(file: KernelFile) -> None:
    fd = file.take()
    assert file.closed
    file.close()
    os.close(fd)  # it is the caller's
    with pytest.raises(DeviceGone, match="closed"):
        file.take()


def test_closed_in_the_middle_of_a_call_it_stays_open_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its number would be the next file's, which the call would then write into."""
    told: list[str] = []
    file = KernelFile(os.memfd_create("fake"), BDF, on_closed=lambda: told.append("closed"))
    fd = file.fileno()
    pwrite = os.pwrite

    def late(number: int, data: bytes, offset: int) -> int:
        file.close()
        assert file.closed
        with pytest.raises(DeviceGone, match="closed"):
            file.pread(1, 0, doing="reading")
        assert not told
        return pwrite(number, data, offset)

    monkeypatch.setattr(os, "pwrite", late)
    file.pwrite(b"1", 0, doing="writing")
    assert told == ["closed"]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_descriptor_that_somebody_else_closed_is_gone(file: KernelFile) -> None:
    os.close(file.fileno())
    try:
        with pytest.raises(DeviceGone, match="reading: pread: EBADF"):
            file.pread(1, 0, doing="reading")
    finally:
        file.take()


def test_one_that_nobody_closes_is_closed_with_a_warning() -> None:
    files = [open_file()]
    fd = files[0].fileno()
    with pytest.warns(ResourceWarning, match=f"{BDF} was not closed"):
        files.clear()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
