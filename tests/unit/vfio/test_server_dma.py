# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The server, spoken to in bytes: DMA_MAP and DMA_UNMAP."""

from __future__ import annotations

import errno
import os
import resource
import struct
from typing import NoReturn

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE,
)
from pyvmm.vfio import DmaFault, EventFd
from pyvmm.vfio.user import session
from pyvmm.vfio.user.client_dma import ClientDma
from tests.unit.vfio.fakes import (
    DMA_MAP,
    DMA_UNMAP,
    FakeDevice,
    Peer,
)

BAR0, BAR2, CONFIG = 0, 2, 7
INTX, MSIX = 0, 2
TRIGGER_EVENTFD = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
TRIGGER_NONE = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE
TRIGGER_BOOL = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_BOOL


def dma_map(iova: int, size: int, offset: int = 0, flags: int = 3, argsz: int = 32) -> bytes:
    return struct.pack("=IIQQQ", argsz, flags, offset, iova, size)


def dma_unmap(iova: int, size: int, flags: int = 0, argsz: int = 24) -> bytes:
    return struct.pack("=IIQQ", argsz, flags, iova, size)


def test_dma_map_and_unmap(peer: Peer, device: FakeDevice, ram_fd: int) -> None:
    assert peer.answered(DMA_MAP, dma_map(0x10000, 0x2000, 0x1000), [ram_fd]) == b""
    os.pwrite(ram_fd, b"guest", 0x1000)
    assert device.table.read(0x10000, 5) == b"guest"
    device.table.write(0x11FFC, b"devi")
    assert os.pread(ram_fd, 4, 0x2FFC) == b"devi"
    query = dma_unmap(0x10000, 0x2000)
    assert peer.answered(DMA_UNMAP, query) == query
    with pytest.raises(DmaFault):
        device.table.read(0x10000, 1)


def test_memory_without_a_file_takes_a_device_in_software(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> NoReturn:
        raise AssertionError("nothing is mapped")

    with ClientDma(ask, 4096) as dma:
        monkeypatch.setattr(FakeDevice, "dma", dma)
        assert peer.refused(DMA_MAP, dma_map(0, 0x1000)) == errno.EOPNOTSUPP
        assert dma.mappings == ()


def test_dma_map_with_hints_of_newer_clients(peer: Peer, device: FakeDevice, ram_fd: int) -> None:
    peer.answered(DMA_MAP, dma_map(0, 0x1000, flags=3 | 0xC), [ram_fd])
    device.table.write(0, b"x")
    assert peer.refused(DMA_MAP, dma_map(0x1000, 0x1000, flags=0xC), [ram_fd]) == errno.EINVAL


def test_dma_map_read_only(peer: Peer, device: FakeDevice, ram_fd: int) -> None:
    peer.answered(DMA_MAP, dma_map(0, 0x1000, flags=1), [ram_fd])
    assert device.table.read(0, 4) == bytes(4)
    with pytest.raises(DmaFault, match="read-only"):
        device.table.write(0, b"x")


@pytest.mark.parametrize("by_file", [True, False])
def test_dma_map_write_only(peer: Peer, device: FakeDevice, ram_fd: int, by_file: bool) -> None:
    peer.answered(DMA_MAP, dma_map(0, 0x1000, flags=2), [ram_fd] * by_file)
    with pytest.raises(DmaFault, match="write-only"):
        device.table.read(0, 4)
    if by_file:
        device.table.write(0, b"in")
        assert os.pread(ram_fd, 2, 0) == b"in"


def test_dma_unmap_all(peer: Peer, device: FakeDevice, ram_fd: int) -> None:
    for i in range(3):
        peer.answered(DMA_MAP, dma_map(i * 0x1000, 0x1000, i * 0x1000), [ram_fd])
    query = dma_unmap(0, 0, flags=2)
    assert peer.answered(DMA_UNMAP, query) == query
    assert peer.answered(DMA_UNMAP, query) == query
    with pytest.raises(DmaFault):
        device.table.read(0x1000, 1)


@pytest.mark.parametrize(
    ("payload", "fds", "number"),
    [
        (dma_map(0x100000, 0x1000)[:31], 1, errno.EINVAL),
        (dma_map(0x100000, 0x1000, argsz=31), 1, errno.EINVAL),
        (dma_map(0x100000, 0x1000), 2, errno.EINVAL),
        (dma_map(0x100000, 0x1000, flags=0), 1, errno.EINVAL),
        (dma_map(0x100000, 0x1000, flags=0x80000001), 1, errno.EINVAL),
        (dma_map(0x100000, 0), 1, errno.EINVAL),
        (dma_map(0x100000, 0), 0, errno.EINVAL),
        (dma_map(0x100000, 0x5000), 1, errno.EINVAL),
        (dma_map(0x100000, 0x1000, 0x4000), 1, errno.EINVAL),
        (dma_map(0x100000, 0x1000, (1 << 64) - 0x1000), 1, errno.EINVAL),
        (dma_map((1 << 64) - 0x1000, 0x2000), 1, errno.EINVAL),
        (dma_map((1 << 64) - 0x1000, 0x2000), 0, errno.EINVAL),
        (dma_map(0x2000, 0x1000), 1, errno.EEXIST),
        (dma_map(0x2FFF, 0x1000), 0, errno.EEXIST),
    ],
)
def test_dma_map_refused(
    peer: Peer, device: FakeDevice, ram_fd: int, payload: bytes, fds: int, number: int
) -> None:
    peer.answered(DMA_MAP, dma_map(0x2000, 0x1000), [ram_fd])
    assert peer.refused(DMA_MAP, payload, [ram_fd] * fds) == number
    with pytest.raises(DmaFault):
        device.table.read(0x100000, 1)


def test_dma_map_of_what_is_no_memory(peer: Peer) -> None:
    with EventFd() as eventfd:
        assert peer.refused(DMA_MAP, dma_map(0, 0x1000), [eventfd.fileno()]) == errno.EINVAL


def test_as_many_mappings_as_was_said(
    peer: Peer, device: FakeDevice, ram_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_MAX_DMA_MAPS", 3)
    for i in range(3):
        peer.answered(DMA_MAP, dma_map(i * 0x1000, 0x1000), [ram_fd])
    assert peer.refused(DMA_MAP, dma_map(0x3000, 0x1000), [ram_fd]) == errno.ENOSPC
    peer.answered(DMA_UNMAP, dma_unmap(0x1000, 0x1000))
    peer.answered(DMA_MAP, dma_map(0x3000, 0x1000), [ram_fd])


def test_files_for_which_there_is_no_descriptor(peer: Peer, device: FakeDevice) -> None:
    """A client that uses up all that we have is refused, and nothing else happens."""
    plain = os.memfd_create("unsealed")
    os.ftruncate(plain, 0x1000)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
    try:
        refused = 0
        for i in range(highest + 8):
            # Our own copies of what is sent are gone with the call.
            refused = peer.ask(DMA_MAP, dma_map(i * 0x1000, 0x1000), [plain]).error
            if refused:
                break
        assert refused == errno.EMFILE
        assert peer.refused(DMA_MAP, dma_map(1 << 40, 0x1000), [plain]) == errno.EMFILE
        peer.answered(DMA_UNMAP, dma_unmap(0, 0x1000))
        peer.answered(DMA_MAP, dma_map(0, 0x1000), [plain])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(plain)


@pytest.mark.parametrize(
    ("payload", "number"),
    [
        (dma_unmap(0x2000, 0x1000)[:23], errno.EINVAL),
        (dma_unmap(0x2000, 0x1000, argsz=23), errno.EINVAL),
        (dma_unmap(0x2000, 0x1000, flags=1), errno.EINVAL),
        (dma_unmap(0x2000, 0x1000, flags=2), errno.EINVAL),
        (dma_unmap(0, 0, flags=3), errno.EINVAL),
        (dma_unmap(0x2000, 0x800), errno.ENOENT),
        (dma_unmap(0x2800, 0x800), errno.ENOENT),
        (dma_unmap(0, 0), errno.ENOENT),
        (dma_unmap(0x3000, 0x1000), errno.ENOENT),
    ],
)
def test_dma_unmap_refused(
    peer: Peer, device: FakeDevice, ram_fd: int, payload: bytes, number: int
) -> None:
    peer.answered(DMA_MAP, dma_map(0x2000, 0x1000), [ram_fd])
    assert peer.refused(DMA_UNMAP, payload) == number
    assert device.table.read(0x2000, 1) == b"\0"


def test_only_its_own_mappings_are_a_clients_to_unmap(
    peer: Peer, device: FakeDevice, ram_fd: int
) -> None:
    device.table.map(0x8000, 0x1000, address=0, fd=ram_fd)
    assert peer.refused(DMA_UNMAP, dma_unmap(0x8000, 0x1000)) == errno.ENOENT
    peer.answered(DMA_UNMAP, dma_unmap(0, 0, flags=2))
    assert device.table.read(0x8000, 1) == b"\0"
