# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What Identify tells (section 5.15) of the controller and of which namespaces there are."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .error_log import ENTRIES
from .events import LIMIT
from .features import WARNING_TEMPERATURE
from .namespace import IDENTIFY_SIZE
from .nvm import MAX_TRANSFER_SHIFT
from .spec import BROADCAST, CQE_SIZE, SQE_SIZE, Cns, Command, Rejected, Status

if TYPE_CHECKING:
    from .controller import Nvme

VERSION = 0x00010400
FIRMWARE = b"1.0     "
MODEL = "pyvmm NVMe controller"

_IO_CONTROLLER = 1
_OACS_DOORBELL_BUFFER = 1 << 8
_ONCS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4  # compare, dataset management, zeroes, select
_LPA = 1 << 1 | 1 << 2  # commands and effects, offsets and long lengths
_ONE_READ_ONLY_SLOT = 1 << 1 | 1 << 0
_VWC = 1 << 0 | 3 << 1  # there is one, and a flush can be for all namespaces
_SGLS = 1 << 0  # for the commands that move data, of any alignment


def identify(model: Nvme, command: Command) -> bytes:
    """The data structure that a command asks for. Raises Rejected."""
    cns, nsid = command.cdw10 & 0xFF, command.nsid
    if cns == Cns.CONTROLLER:
        return controller(model)
    if cns == Cns.ACTIVE_NAMESPACES:
        return active_namespaces(model, nsid)
    if cns == Cns.COMMAND_SET_CONTROLLER and not command.cdw11 >> 24:
        # No limits but that of a transfer: not of verifying, zeroing or deallocating.
        return bytes(IDENTIFY_SIZE)
    if cns not in (Cns.NAMESPACE, Cns.NAMESPACE_DESCRIPTORS):
        raise Rejected(Status.INVALID_FIELD, 40)
    if cns == Cns.NAMESPACE and nsid == BROADCAST:
        raise Rejected(Status.INVALID_NAMESPACE, 4)  # what is common to all is not told
    namespace = model.namespaces.get(nsid)
    if namespace is None:
        raise Rejected(Status.INVALID_NAMESPACE, 4)
    return namespace.identify() if cns == Cns.NAMESPACE else namespace.descriptors()


def active_namespaces(model: Nvme, after: int) -> bytes:
    """The ids above `after`, up to 1024 of them (section 5.15.2.4)."""
    if after >= 0xFFFFFFFE:
        raise Rejected(Status.INVALID_NAMESPACE, 4)
    ids = [id for id in sorted(model.namespaces) if id > after][: IDENTIFY_SIZE // 4]
    return struct.pack(f"<{len(ids)}I", *ids).ljust(IDENTIFY_SIZE, b"\0")


def controller(model: Nvme) -> bytes:
    """The Identify Controller data structure (section 5.15.2.2)."""
    data = bytearray(IDENTIFY_SIZE)

    def put(offset: int, layout: str, *values: int | bytes) -> None:
        struct.pack_into("<" + layout, data, offset, *values)

    def text(value: str, size: int) -> bytes:
        return value.encode("ascii", "replace").ljust(size)[:size]

    vendor, subsystem_vendor = model.identity.vendor, model.identity.subsystem_vendor
    put(
        0, "HH20s40s8s", vendor, subsystem_vendor, text(model.serial, 20), text(MODEL, 40), FIRMWARE
    )
    put(77, "B", MAX_TRANSFER_SHIFT)  # MDTS
    put(80, "I", VERSION)
    put(111, "B", _IO_CONTROLLER)  # CNTRLTYPE
    put(256, "HBB", _OACS_DOORBELL_BUFFER, 3, LIMIT - 1)  # OACS, ACL, AERL
    put(260, "BBBB", _ONE_READ_ONLY_SLOT, _LPA, ENTRIES - 1, 0)  # FRMW, LPA, ELPE, NPSS
    put(266, "HH", WARNING_TEMPERATURE, WARNING_TEMPERATURE + 10)  # WCTEMP, CCTEMP
    capacity = sum(namespace.backing.size for namespace in model.namespaces.values())
    data[280:296] = capacity.to_bytes(16, "little")  # TNVMCAP
    sqes, cqes = SQE_SIZE.bit_length() - 1, CQE_SIZE.bit_length() - 1
    put(512, "BB", sqes << 4 | sqes, cqes << 4 | cqes)
    put(516, "IH", len(model.namespaces), _ONCS)  # NN, ONCS
    put(525, "B", _VWC)
    put(536, "I", _SGLS)
    data[768:1024] = f"nqn.2014-08.org.nvmexpress:uuid:{model.subsystem}".encode().ljust(256, b"\0")
    put(2048, "H", 2500)  # the one power state: 25 W at most
    return bytes(data)
