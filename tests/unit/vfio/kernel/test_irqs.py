# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_SET_IRQS: its encoding, and how vectors come to be more than at first."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi import vfio
from pyvmm.uapi.vfio import (
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX,
)
from pyvmm.vfio import DeviceError, EventFd, Fds, IrqInfo
from pyvmm.vfio.device import IrqData
from pyvmm.vfio.irq_set import pack
from pyvmm.vfio.kernel.irqs import Interrupts
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.fakes import open_files
from tests.unit.vfio.kernel.fake_kernel import BDF, FakeKernel, refuse

INTX, MSI, MSIX = VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
REQ = VFIO_PCI_REQ_IRQ_INDEX
TRIGGER, MASK = VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_MASK
UNMASK = VFIO_IRQ_SET_ACTION_UNMASK
EVENTFD, NONE, BOOL = (
    vfio.VFIO_IRQ_SET_DATA_EVENTFD,
    vfio.VFIO_IRQ_SET_DATA_NONE,
    vfio.VFIO_IRQ_SET_DATA_BOOL,
)

lists = st.one_of(
    st.lists(st.booleans(), max_size=9),
    st.lists(st.integers(-1, 2**31 - 1), max_size=9).map(Fds),
)
actions = st.sampled_from([TRIGGER, MASK, UNMASK])


@given(index=st.integers(0, 9), action=actions, start=st.integers(0, 2**20), data=lists)
def test_the_encoding_is_the_kernels(index: int, action: int, start: int, data: IrqData) -> None:
    assert data is not None
    encoded = pack(index, action, start, len(data), data)
    header = vfio.vfio_irq_set.from_buffer_copy(encoded)
    body = encoded[ctypes.sizeof(vfio.vfio_irq_set) :]
    assert (header.argsz, header.index) == (len(encoded), index)
    assert (header.start, header.count) == (start, len(data))
    assert header.flags & vfio.VFIO_IRQ_SET_ACTION_TYPE_MASK == action
    kind = header.flags & vfio.VFIO_IRQ_SET_DATA_TYPE_MASK
    if isinstance(data, Fds):
        assert kind == EVENTFD
        assert Fds(memoryview(body).cast("i")) == data
    else:
        assert kind == BOOL
        assert [bool(byte) for byte in body] == data


def test_the_encoding_without_data() -> None:
    assert pack(1, MASK, 2, 3, None) == struct.pack("=IIIII", 20, MASK | NONE, 1, 2, 3)


@pytest.mark.parametrize(
    ("index", "action", "start", "count", "data", "complaint"),
    [
        (1, TRIGGER, 0, 2, Fds([1]), "1 values for 2 interrupts"),
        (1, TRIGGER, 0, 1, Fds([-2]), r"eventfds \[-2\]"),
        (1, TRIGGER, 0, 1, Fds([1 << 31]), "eventfds"),
        (1, MASK | TRIGGER, 0, 1, None, "action 0x28"),
        (1, NONE, 0, 1, None, "action 0x1"),
        (-1, MASK, 0, 1, None, r"interrupts 0\+1 of kind -1"),
        (1, MASK, -1, 1, None, r"interrupts -1\+1"),
        (1, MASK, 0, -1, None, r"interrupts 0\+-1"),
        (1, MASK, 2**32 - 2, 1, None, r"interrupts 4294967294\+1"),
        (1 << 40, MASK, 0, 1, None, "of kind 1099511627776"),
    ],
)
def test_what_makes_no_sense_is_not_sent(
    interrupts: Interrupts,
    kernel: FakeKernel,
    index: int,
    action: int,
    start: int,
    count: int,
    data: IrqData,
    complaint: str,
) -> None:
    with pytest.raises(ValueError, match=complaint):
        pack(index, action, start, count, data)
    if 0 <= index < 5:
        with pytest.raises(DeviceError, match=complaint) as caught:
            interrupts.set(index, action, start, count, data)
        assert caught.value.errno == errno.EINVAL
        assert str(caught.value).startswith(BDF)
    assert not kernel.calls


class Vectors:
    """The kernel's own state: what triggers it has, and vectors for no more than a limit."""

    def __init__(self) -> None:
        self.kind = -1
        self.triggers: list[int] = []
        self.limit = 64

    def set(self, data: memoryview) -> int:
        _, flags, index, start, count = struct.unpack_from("=IIIII", data)
        if flags == TRIGGER | NONE and count == 0:
            if self.kind != index:
                raise OSError(errno.EINVAL, "")
            self.kind, self.triggers = -1, []
        elif flags == TRIGGER | EVENTFD:
            if self.kind not in (-1, index):
                raise OSError(errno.EINVAL, "")
            if self.kind < 0:
                if start + count > self.limit:
                    return self.limit
                self.kind, self.triggers = index, [-1] * (start + count)
            if start + count > len(self.triggers):
                raise OSError(errno.EINVAL, "")
            self.triggers[start : start + count] = memoryview(data[20:]).cast("i").tolist()
        elif self.kind != index:
            raise OSError(errno.EINVAL, "")
        return 0


@pytest.fixture
def vectors(kernel: FakeKernel) -> Vectors:
    vectors = Vectors()
    kernel.on("VFIO_DEVICE_SET_IRQS", vectors.set)
    return vectors


def info(index: int) -> IrqInfo:
    noresize = 0 if index == INTX else VFIO_IRQ_INFO_NORESIZE
    return IrqInfo(index, VFIO_IRQ_INFO_EVENTFD | noresize, 32 if index in (MSI, MSIX) else 1)


@pytest.fixture
def interrupts(file: KernelFile) -> Iterator[Interrupts]:
    before = open_files()
    interrupts = Interrupts(file, info)
    yield interrupts
    interrupts.close()
    assert open_files() == before


@pytest.fixture
def eventfds() -> Iterator[list[EventFd]]:
    eventfds = [EventFd() for _ in range(4)]
    yield eventfds
    for eventfd in eventfds:
        eventfd.close()


@pytest.fixture
def fds(interrupts: Interrupts, eventfds: list[EventFd]) -> Fds:
    return Fds(eventfd.fileno() for eventfd in eventfds)


def same(fd: int, eventfd: EventFd) -> bool:
    """Whether both are the same eventfd: a signal to one is seen in the other."""
    with EventFd.from_fd(fd) as other:
        other.signal()
    return eventfd.read() == 1


def test_vectors_grow_with_their_old_eventfds(
    interrupts: Interrupts, vectors: Vectors, eventfds: list[EventFd], fds: Fds
) -> None:
    interrupts.set(MSIX, TRIGGER, 1, 1, Fds(fds[1:2]))
    assert vectors.triggers == [-1, fds[1]]
    eventfds[1].signal()
    interrupts.set(MSIX, TRIGGER, 2, 2, Fds([fds[2], -1]))
    assert [fd >= 0 for fd in vectors.triggers] == [False, True, True, False]
    assert eventfds[1].read() == 1, "a signal is lost"
    assert same(vectors.triggers[1], eventfds[1])
    assert same(vectors.triggers[2], eventfds[2])


def test_the_callers_eventfds_may_be_closed_before_vectors_grow(
    interrupts: Interrupts, vectors: Vectors, eventfds: list[EventFd], fds: Fds
) -> None:
    with EventFd() as first:
        interrupts.set(MSI, TRIGGER, 0, 1, Fds([first.fileno()]))
        another = EventFd.from_fd(first.fileno())
    with another:
        interrupts.set(MSI, TRIGGER, 1, 1, Fds([fds[1]]))
        assert same(vectors.triggers[0], another)


def test_vectors_within_the_enabled_ones_are_just_set(
    interrupts: Interrupts, vectors: Vectors, kernel: FakeKernel, fds: Fds
) -> None:
    interrupts.set(MSIX, TRIGGER, 0, 4, fds)
    kernel.calls.clear()
    interrupts.set(MSIX, TRIGGER, 1, 2, Fds([-1, fds[0]]))
    assert len(kernel.calls) == 1
    assert vectors.triggers == [fds[0], -1, fds[0], fds[3]]


def test_when_the_host_has_too_few_vectors_the_old_stay(
    interrupts: Interrupts, vectors: Vectors, eventfds: list[EventFd], fds: Fds
) -> None:
    vectors.limit = 2
    interrupts.set(MSIX, TRIGGER, 0, 2, Fds(fds[:2]))
    with pytest.raises(DeviceError, match="the host has 2 vectors left for it") as caught:
        interrupts.set(MSIX, TRIGGER, 2, 2, Fds(fds[2:]))
    assert caught.value.errno == errno.ENOSPC
    assert len(vectors.triggers) == 2
    assert same(vectors.triggers[0], eventfds[0])
    vectors.limit = 8
    interrupts.set(MSIX, TRIGGER, 2, 2, Fds(fds[2:]))
    assert [same(*pair) for pair in zip(vectors.triggers, eventfds, strict=True)] == [True] * 4


def test_when_not_even_the_old_come_back_the_kind_is_off(
    interrupts: Interrupts, vectors: Vectors, fds: Fds
) -> None:
    interrupts.set(MSIX, TRIGGER, 0, 2, Fds(fds[:2]))
    vectors.limit = 1
    with pytest.raises(DeviceError, match="the host has 1 vectors left"):
        interrupts.set(MSIX, TRIGGER, 2, 2, Fds(fds[2:]))
    assert vectors.kind == -1
    interrupts.set(INTX, TRIGGER, 0, 1, Fds(fds[:1]))
    assert vectors.kind == INTX


def test_dynamic_vectors_need_no_growing(
    kernel: FakeKernel, file: KernelFile, fds: Fds, vectors: Vectors
) -> None:
    interrupts = Interrupts(file, lambda index: IrqInfo(index, VFIO_IRQ_INFO_EVENTFD, 32))
    kernel.on("VFIO_DEVICE_SET_IRQS", lambda data: 0)
    interrupts.set(MSIX, TRIGGER, 0, 1, Fds(fds[:1]))
    interrupts.set(MSIX, TRIGGER, 1, 3, Fds(fds[1:]))
    assert [struct.unpack_from("=II", data, 12) for _, data in kernel.calls] == [(0, 1), (1, 3)]
    interrupts.close()
    assert kernel.calls[-1][1] == pack(MSIX, TRIGGER, 0, 0, None)


def test_disabling_what_is_not_enabled_is_no_error(
    interrupts: Interrupts, vectors: Vectors, kernel: FakeKernel, fds: Fds
) -> None:
    interrupts.set(MSI, TRIGGER, 0, 0, None)
    interrupts.set(MSI, TRIGGER, 0, 1, Fds(fds[:1]))
    interrupts.set(MSI, TRIGGER, 0, 0, None)
    interrupts.set(MSI, TRIGGER, 0, 0, None)
    assert vectors.kind == -1
    kernel.on("VFIO_DEVICE_SET_IRQS", refuse(errno.EIO))
    with pytest.raises(DeviceError, match="disabling MSI: VFIO_DEVICE_SET_IRQS: EIO"):
        interrupts.set(MSI, TRIGGER, 0, 0, None)


def test_no_eventfds_are_nothing_to_do(
    interrupts: Interrupts, kernel: FakeKernel, vectors: Vectors
) -> None:
    interrupts.set(MSIX, TRIGGER, 0, 0, Fds())
    assert not kernel.calls


def test_the_cause_is_told(
    interrupts: Interrupts, vectors: Vectors, kernel: FakeKernel, fds: Fds
) -> None:
    def told(index: int, action: int, start: int, count: int, data: IrqData) -> str:
        with pytest.raises(DeviceError) as caught:
            interrupts.set(index, action, start, count, data)
        return str(caught.value)

    assert "it is not enabled: set its triggers first" in told(MSIX, TRIGGER, 0, 1, None)
    interrupts.set(MSIX, TRIGGER, 0, 1, Fds(fds[:1]))
    assert "MSI-X is enabled, and excludes it" in told(MSI, TRIGGER, 0, 1, Fds(fds[:1]))
    assert "MSI-X is enabled, and excludes it" in told(INTX, TRIGGER, 0, 1, Fds(fds[:1]))
    assert "the device has 32" in told(MSI, TRIGGER, 31, 2, Fds(fds[:2]))
    with open("/dev/null") as null:
        fd = null.fileno()
        assert f"using fd {fd} (/dev/null) as an eventfd" in told(MSI, TRIGGER, 0, 1, Fds([fd]))
    assert "setting the triggers of MSI: using fd 999" in told(MSI, TRIGGER, 0, 1, Fds([999]))
    kernel.on("VFIO_DEVICE_SET_IRQS", refuse(errno.ENOTTY))
    assert "take the vector's eventfd away (-1)" in told(MSIX, MASK, 0, 1, None)
    assert "mask it by call" in told(INTX, MASK, 0, 1, Fds(fds[:1]))
    kernel.on("VFIO_DEVICE_SET_IRQS", refuse(errno.ENODEV))
    assert "leads nowhere on this host" in told(INTX, TRIGGER, 0, 1, Fds(fds[:1]))
    kernel.on("VFIO_DEVICE_SET_IRQS", refuse(errno.EBUSY))
    assert "must be taken away first (-1)" in told(INTX, UNMASK, 0, 1, Fds(fds[:1]))
    assert "use MSI or MSI-X" in told(INTX, TRIGGER, 0, 1, Fds(fds[:1]))
    kernel.on("VFIO_DEVICE_SET_IRQS", refuse(errno.EBADF))
    assert "using fd 998 as an eventfd: EBADF" in told(REQ, TRIGGER, 0, 1, Fds([998]))
    kernel.on("VFIO_DEVICE_SET_IRQS", vectors.set)
