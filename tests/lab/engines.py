# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices that do DMA when told to: edu copies, an NVMe controller writes who it is.

From QEMU's specs/edu and the NVMe base specification 1.4.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from pyvmm.vfio import Device
from pyvmm.vfio.buffer import DmaSlice
from tests.lab.registers import BAR0, enable_bus_master, read32, write32

EDU_REACHES = 1 << 28
"""IOVAs that edu can address end here."""

_EDU_BUFFER = 0x40000
_EDU_SOURCE, _EDU_TARGET, _EDU_COUNT, _EDU_COMMAND = 0x80, 0x88, 0x90, 0x98
_EDU_START, _EDU_TO_MEMORY = 1, 2

_CC, _CSTS, _AQA, _ASQ, _ACQ = 0x14, 0x1C, 0x24, 0x28, 0x30
_SUBMITTED, _TAKEN = 0x1000, 0x1004  # doorbells of the admin queues
_ENABLED = 0x00460001  # 64-byte submissions, 16-byte completions
_IDENTIFY = struct.Struct("<BBHI16xQQI20x")
NVME_VERSION = 0x08
"""Register VS, read-only."""

_PATIENCE = 30.0


def copy(edu: Device, source: int, target: int, size: int) -> None:
    """Have edu copy size bytes, 4095 at most, from one IOVA to another."""
    assert size < 4096, "QEMU itself ends at more"
    enable_bus_master(edu)
    _edu_transfer(edu, source, _EDU_BUFFER, size, _EDU_START)
    _edu_transfer(edu, _EDU_BUFFER, target, size, _EDU_START | _EDU_TO_MEMORY)


def _edu_transfer(edu: Device, source: int, target: int, size: int, command: int) -> None:
    for register, value in (
        (_EDU_SOURCE, source),
        (_EDU_TARGET, target),
        (_EDU_COUNT, size),
        (_EDU_COMMAND, command),
    ):
        edu.region_write(BAR0, register, value.to_bytes(8, "little"))
    _until(lambda: not edu.region_read(BAR0, _EDU_COMMAND, 8)[0] & _EDU_START)


def identify(nvme: Device, submissions: DmaSlice, completions: DmaSlice, target: int) -> bool:
    """Have an NVMe controller write the 4096 bytes that describe it to an IOVA.

    The buffers are a page each, for its admin queues. Whether it could is the result.
    """
    enable_bus_master(nvme)
    write32(nvme, _CC, 0)
    _until(lambda: not read32(nvme, _CSTS) & 1)
    completions.view[:] = bytes(completions.size)
    write32(nvme, _AQA, 1 << 16 | 1)
    for register, buffer in ((_ASQ, submissions), (_ACQ, completions)):
        write32(nvme, register, buffer.iova & 0xFFFFFFFF)
        write32(nvme, register + 4, buffer.iova >> 32)
    write32(nvme, _CC, _ENABLED)
    _until(lambda: bool(read32(nvme, _CSTS) & 1))
    submissions.view[: _IDENTIFY.size] = _IDENTIFY.pack(6, 0, 1, 0, target, 0, 1)
    write32(nvme, _SUBMITTED, 1)
    _until(lambda: bool(completions.view[14] & 1))
    (status,) = struct.unpack_from("<H", completions.view, 14)
    # Or QEMU's would hold its interrupt line, over any reset, and who is next hears no interrupt.
    write32(nvme, _TAKEN, 1)
    write32(nvme, _CC, 0)
    _until(lambda: not read32(nvme, _CSTS) & 1)
    return not status >> 1


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < deadline, "the device does not answer"
