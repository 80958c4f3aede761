# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the specification numbers: opcodes, status, log pages, features; and how entries are laid
out in memory.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

SQE_SIZE = 64
CQE_SIZE = 16
BROADCAST = 0xFFFFFFFF  # the namespace id that means all (section 6.1)

SQE = struct.Struct("<BBHI8xQQQIIIIII")
CQE = struct.Struct("<IIHHHH")


class Command(NamedTuple):
    """A submission queue entry (section 4.2), without what no command here uses."""

    opcode: int
    flags: int
    cid: int
    nsid: int
    mptr: int
    prp1: int
    prp2: int
    cdw10: int
    cdw11: int
    cdw12: int
    cdw13: int
    cdw14: int
    cdw15: int


class Admin(IntEnum):
    """Opcodes of the admin queue (section 5)."""

    DELETE_SQ = 0x00
    CREATE_SQ = 0x01
    GET_LOG_PAGE = 0x02
    DELETE_CQ = 0x04
    CREATE_CQ = 0x05
    IDENTIFY = 0x06
    ABORT = 0x08
    SET_FEATURES = 0x09
    GET_FEATURES = 0x0A
    ASYNC_EVENT_REQUEST = 0x0C
    DOORBELL_BUFFER_CONFIG = 0x7C


class Io(IntEnum):
    """Opcodes of the NVM command set (section 6)."""

    FLUSH = 0x00
    WRITE = 0x01
    READ = 0x02
    COMPARE = 0x05
    WRITE_ZEROES = 0x08
    DATASET_MANAGEMENT = 0x09


class Status(IntEnum):
    """Status code type and status code (section 4.6.1), as in bits 8 to 10 and 0 to 7."""

    SUCCESS = 0x000
    INVALID_OPCODE = 0x001
    INVALID_FIELD = 0x002
    DATA_TRANSFER_ERROR = 0x004
    INTERNAL_ERROR = 0x006
    ABORT_REQUESTED = 0x007
    INVALID_NAMESPACE = 0x00B
    SEQUENCE_ERROR = 0x00C
    INVALID_SGL_SEGMENT = 0x00D
    INVALID_SGL_COUNT = 0x00E
    INVALID_SGL_LENGTH = 0x00F
    INVALID_SGL_TYPE = 0x011
    INVALID_PRP_OFFSET = 0x013
    NAMESPACE_WRITE_PROTECTED = 0x020
    LBA_OUT_OF_RANGE = 0x080
    CAPACITY_EXCEEDED = 0x081
    INVALID_CQ = 0x100
    INVALID_QUEUE_ID = 0x101
    INVALID_QUEUE_SIZE = 0x102
    ASYNC_EVENT_LIMIT = 0x105
    INVALID_INTERRUPT_VECTOR = 0x108
    INVALID_LOG_PAGE = 0x109
    INVALID_QUEUE_DELETION = 0x10C
    FEATURE_NOT_SAVEABLE = 0x10D
    WRITE_FAULT = 0x280
    READ_ERROR = 0x281
    COMPARE_FAILURE = 0x285


MORE = 1 << 13  # in the status field: the error log has an entry for it
DNR = 1 << 14  # do not retry: the same command would fail again

# What may go better the next time.
RETRYABLE = frozenset(
    {
        Status.SUCCESS,
        Status.DATA_TRANSFER_ERROR,
        Status.INTERNAL_ERROR,
        Status.ABORT_REQUESTED,
        Status.WRITE_FAULT,
        Status.READ_ERROR,
        Status.CAPACITY_EXCEEDED,
    }
)


class Cns(IntEnum):
    """What Identify is asked for (section 5.15.1); the last is of NVMe 2.0."""

    NAMESPACE = 0x00
    CONTROLLER = 0x01
    ACTIVE_NAMESPACES = 0x02
    NAMESPACE_DESCRIPTORS = 0x03
    COMMAND_SET_CONTROLLER = 0x06


class Feature(IntEnum):
    """Feature identifiers (section 5.21.1)."""

    ARBITRATION = 0x01
    POWER_MANAGEMENT = 0x02
    TEMPERATURE_THRESHOLD = 0x04
    ERROR_RECOVERY = 0x05
    VOLATILE_WRITE_CACHE = 0x06
    NUMBER_OF_QUEUES = 0x07
    INTERRUPT_COALESCING = 0x08
    INTERRUPT_VECTOR = 0x09
    WRITE_ATOMICITY = 0x0A
    ASYNC_EVENT = 0x0B


class LogPage(IntEnum):
    """Log page identifiers (section 5.14.1)."""

    ERROR = 0x01
    SMART = 0x02
    FIRMWARE_SLOT = 0x03
    COMMANDS_AND_EFFECTS = 0x05


class Rejected(Exception):
    """A command ends with this status; `where` is the byte of it that is at fault, or -1."""

    def __init__(self, status: Status, where: int = -1) -> None:
        super().__init__(status.name)
        self.status = status
        self.where = where
