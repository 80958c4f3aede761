# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Peers that can be passed no files (max_msg_fds 0): what can goes by message, the rest is told."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from pyvmm.uapi.vfio import VFIO_REGION_INFO_FLAG_MMAP
from pyvmm.vfio import DeviceError, EventFd
from pyvmm.vfio.user import Client
from tests.unit.vfio.fakes import (
    DMA_MAP,
    GET_REGION_INFO,
    PATIENCE,
    SET_IRQS,
    VERSION,
    Peer,
    Script,
)

CAPABILITIES = struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":0}}\0'


@pytest.fixture
def poor(ours_and_script: tuple[socket.socket, Script]) -> Iterator[Client]:
    ours, script = ours_and_script
    script.answers[VERSION] = CAPABILITIES
    script.answers[DMA_MAP] = script.answers[SET_IRQS] = b""
    with Client(ours, "server", timeout=PATIENCE) as client:
        yield client


def test_memory_goes_by_message(poor: Client, script: Script) -> None:
    page = (ctypes.c_ubyte * 4096)()
    fd = os.memfd_create("memory")
    poor.dma.map(0, 4096, address=ctypes.addressof(page), fd=fd, offset=4096)
    (asked,) = (asked for asked in script.asked if asked.command == DMA_MAP)
    assert (asked.payload, asked.fds) == (struct.pack("=IIQQQ", 32, 3, 0, 0, 4096), [])
    with pytest.raises(DeviceError, match="the server takes no files") as caught:
        poor.dma.map(8192, 4096, address=0, fd=fd)
    assert caught.value.errno == errno.EOPNOTSUPP
    os.close(fd)


def test_there_are_no_eventfds(poor: Client, script: Script) -> None:
    with EventFd() as eventfd, pytest.raises(DeviceError, match="its server takes no files"):
        poor.set_triggers(2, 0, [-1, eventfd.fileno()])
    assert not script.requests(SET_IRQS)
    poor.set_triggers(2, 0, [-1, -1])
    poor.disable_irqs(2)
    assert len(script.requests(SET_IRQS)) == 2


def test_a_client_is_offered_nothing_to_map(stranger: Peer) -> None:
    stranger.answered(VERSION, CAPABILITIES)
    asked = struct.pack("=IIIIQQ", 4096, 0, 2, 0, 0, 0)
    flags = struct.unpack_from("=II", stranger.answered(GET_REGION_INFO, asked))[1]
    assert not flags & VFIO_REGION_INFO_FLAG_MMAP
