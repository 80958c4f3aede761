# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Log pages (section 5.14.1)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .features import TEMPERATURE_NOW
from .identify import FIRMWARE
from .nvm import MAX_TRANSFER
from .spec import Admin, Command, Io, LogPage, Rejected, Status

if TYPE_CHECKING:
    from .engine import Engine

_SUPPORTED = 1 << 0
_CHANGES_CONTENT = 1 << 1
_CHANGING = (Io.WRITE, Io.WRITE_ZEROES, Io.DATASET_MANAGEMENT)
_UNIT = 512 * 1000  # of the data read and written, in bytes


def get_log_page(engine: Engine, command: Command) -> int:
    """Give the part of a page that a command asks for. An `engine.Work`, but for the queue."""
    id = command.cdw10 & 0xFF
    size = ((command.cdw11 & 0xFFFF) << 16 | command.cdw10 >> 16) * 4 + 4
    offset = command.cdw13 << 32 | command.cdw12
    page = _page(engine, id)
    if offset % 4 or offset > len(page):
        raise Rejected(Status.INVALID_FIELD, 48)
    if size > MAX_TRANSFER:
        raise Rejected(Status.INVALID_FIELD, 42)
    engine.give(command, page[offset : offset + size])
    if not command.cdw10 >> 15 & 1:  # retain asynchronous event
        engine.events.page_is_read(id)
    return 0


def _page(engine: Engine, id: int) -> bytes:
    if id == LogPage.ERROR:
        return engine.errors.page()
    if id == LogPage.SMART:
        return _smart(engine)
    if id == LogPage.FIRMWARE_SLOT:
        return (b"\x01".ljust(8, b"\0") + FIRMWARE).ljust(512, b"\0")
    if id == LogPage.COMMANDS_AND_EFFECTS:
        return _commands_and_effects()
    raise Rejected(Status.INVALID_LOG_PAGE, 40)


def _smart(engine: Engine) -> bytes:
    counts = engine.model.statistics
    warning = 1 << 1 if engine.features.too_warm_or_cold else 0
    data = struct.pack("<BHBBB", warning, TEMPERATURE_NOW, 100, 10, 0).ljust(32, b"\0")
    for value in (
        -(-counts.bytes_read // _UNIT),
        -(-counts.bytes_written // _UNIT),
        counts.reads,
        counts.writes,
        0,  # controller busy time
        1,  # power cycles
        counts.power_on_hours,
        0,  # unsafe shutdowns
        counts.media_errors,
        engine.errors.count,
    ):
        data += value.to_bytes(16, "little")
    return data.ljust(512, b"\0")


def _commands_and_effects() -> bytes:
    page = bytearray(4096)
    for admin in Admin:
        struct.pack_into("<I", page, 4 * admin, _SUPPORTED)
    for io in Io:
        effects = _SUPPORTED | (_CHANGES_CONTENT if io in _CHANGING else 0)
        struct.pack_into("<I", page, 1024 + 4 * io, effects)
    return bytes(page)
