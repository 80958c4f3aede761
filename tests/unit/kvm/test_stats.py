# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The binary statistics file, with fields as the kernel's document allows them."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pyvmm.kvm import KvmCallFailed, KvmError
from pyvmm.kvm.stats import Stats
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import Ioctls

NAME_SIZE = 48


def stats_file(*fields: tuple[str, tuple[int, ...]], cut: int = 0) -> int:
    """A file as KVM_GET_STATS_FD gives one, with gaps between its blocks."""
    descriptors_at = 24 + NAME_SIZE + 8
    data_at = descriptors_at + len(fields) * (16 + NAME_SIZE) + 16
    descriptors, data = b"", b""
    for name, values in fields:
        descriptors += struct.pack("=IhHII", 0, -9, len(values), len(data), 0)
        descriptors += name.encode().ljust(NAME_SIZE, b"\0")
        data += struct.pack(f"={len(values)}Q", *values)
    header = struct.pack("=IIIIII", 0, NAME_SIZE, len(fields), 24, descriptors_at, data_at)
    content = header.ljust(descriptors_at, b"\0") + descriptors
    content = content.ljust(data_at, b"\0") + data
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.write(fd, content[: len(content) - cut])
    return fd


def test_names_and_values(no_leaks: None, ioctls: Ioctls) -> None:
    fields = (("exits", (7,)), ("halt_wait_hist", (1, 2, 3)), ("max", (2**64 - 1,)))
    ioctls.answers[uapi.KVM_GET_STATS_FD] = lambda _: stats_file(*fields)
    with Stats(-1, "vCPU 0") as stats:
        assert stats.read() == {"exits": 7, "halt_wait_hist": (1, 2, 3), "max": 2**64 - 1}
    stats.close()


def test_each_reading_is_new(no_leaks: None, ioctls: Ioctls) -> None:
    fd = stats_file(("exits", (7,)))
    ioctls.answers[uapi.KVM_GET_STATS_FD] = lambda _: fd
    with Stats(-1, "vCPU 0") as stats:
        assert stats.read() == {"exits": 7}
        os.pwrite(fd, struct.pack("=Q", 8), os.fstat(fd).st_size - 8)
        assert stats.read() == {"exits": 8}


def test_a_kernel_without(ioctls: Ioctls) -> None:
    ioctls.errors[uapi.KVM_GET_STATS_FD] = errno.ENOTTY
    with pytest.raises(KvmCallFailed, match=r"statistics of vCPU 0: .*came with Linux 5.14"):
        Stats(-1, "vCPU 0")


def test_a_file_that_ends_too_soon(no_leaks: None, ioctls: Ioctls) -> None:
    ioctls.answers[uapi.KVM_GET_STATS_FD] = lambda _: stats_file(("exits", (7,)), cut=90)
    with pytest.raises(KvmError, match="end before they should"):
        Stats(-1, "vCPU 0")
