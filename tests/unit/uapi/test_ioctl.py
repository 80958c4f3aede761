# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ioctl() on files every system has, and the wording of a failed system call."""

from __future__ import annotations

import ctypes
import errno
import os
import termios
from collections.abc import Iterator

import pytest

from pyvmm.uapi.ioctl import failure, ioctl


@pytest.fixture
def pipe() -> Iterator[int]:
    """The reading end of a pipe that holds five bytes."""
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    yield reader
    os.close(reader)
    os.close(writer)


class Count(ctypes.Structure):
    _fields_ = (("value", ctypes.c_int),)


class Either(ctypes.Union):
    _fields_ = (("value", ctypes.c_int), ("bytes", ctypes.c_ubyte * 4))


@pytest.mark.parametrize("type_", [Count, Either, ctypes.c_int * 1])
def test_the_kernel_writes_into_the_argument(pipe: int, type_: type[Count]) -> None:
    count = type_()
    assert ioctl(pipe, termios.FIONREAD, count) == 0
    assert bytes(count) == (5).to_bytes(4, "little")


def test_an_integer_argument_is_passed_whole(pipe: int) -> None:
    # An address needs all 64 bits.
    count = ctypes.c_int()
    assert ioctl(pipe, termios.FIONREAD, ctypes.addressof(count)) == 0
    assert count.value == 5


def test_the_result_is_returned() -> None:
    # NS_GET_NSTYPE answers with the kind of a namespace.
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert ioctl(namespace, 0xB703) == 0x40000000
    finally:
        os.close(namespace)


@pytest.mark.parametrize("arg", [0, None])
def test_failure_is_an_oserror_with_errno(arg: int | None) -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        ioctl(-1, termios.FIONREAD, arg)
    assert raised.value.errno == errno.EBADF


def test_a_request_with_its_top_bit_set_is_passed_as_it_is(pipe: int) -> None:
    with pytest.raises(OSError, match="Inappropriate ioctl") as raised:
        ioctl(pipe, 0xC0DEC0DE)
    assert raised.value.errno == errno.ENOTTY


def test_failure_names_what_was_done_the_call_and_the_error() -> None:
    text = failure("creating a VM", "KVM_CREATE_VM", errno.ENOMEM)
    assert text == "creating a VM: KVM_CREATE_VM: ENOMEM (Cannot allocate memory)"


def test_failure_ends_with_the_cure() -> None:
    text = failure("opening /dev/kvm", "open", errno.EACCES, "join the group kvm")
    assert text == "opening /dev/kvm: open: EACCES (Permission denied); join the group kvm"


def test_failure_with_an_errno_that_has_no_name() -> None:
    assert failure("doing it", "FOO", 99999) == "doing it: FOO: errno 99999"
