# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The wire format of vfio-user 0.1, as data: commands, structures, capabilities.

Specified by QEMU's docs/interop/vfio-user.rst. All numbers are in the host's byte order. Each
message is a HEADER and the command's structure, whose argsz counts without the header.
"""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

from ..errors import ProtocolError

VFIO_USER_VERSION = 1
VFIO_USER_DMA_MAP = 2
VFIO_USER_DMA_UNMAP = 3
VFIO_USER_DEVICE_GET_INFO = 4
VFIO_USER_DEVICE_GET_REGION_INFO = 5
VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6
VFIO_USER_DEVICE_GET_IRQ_INFO = 7
VFIO_USER_DEVICE_SET_IRQS = 8
VFIO_USER_REGION_READ = 9
VFIO_USER_REGION_WRITE = 10
VFIO_USER_DMA_READ = 11
VFIO_USER_DMA_WRITE = 12
VFIO_USER_DEVICE_RESET = 13
VFIO_USER_REGION_WRITE_MULTI = 15
VFIO_USER_DEVICE_FEATURE = 16
VFIO_USER_MIG_DATA_READ = 17
VFIO_USER_MIG_DATA_WRITE = 18

COMMAND_NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.startswith("VFIO_USER_") and isinstance(value, int)
}


def command_name(command: int) -> str:
    return COMMAND_NAMES.get(command, f"command {command}")


HEADER = struct.Struct("=HHIII")  # message id, command, message size, flags, error
HEADER_SIZE = HEADER.size

F_TYPE_MASK = 0xF
F_TYPE_COMMAND = 0x0
F_TYPE_REPLY = 0x1
F_NO_REPLY = 0x10
F_ERROR = 0x20

MAJOR = 0
MINOR = 1
VERSION = struct.Struct("=HH")  # major, minor; then JSON with its terminating NUL

DMA_MAP = struct.Struct("=IIQQQ")  # argsz, flags, file offset, address, size
F_DMA_REGION_READ = 1 << 0
F_DMA_REGION_WRITE = 1 << 1

DMA_UNMAP = struct.Struct("=IIQQ")  # argsz, flags, address, size
F_DMA_UNMAP_ALL = 1 << 1

DEVICE_INFO = struct.Struct("=IIII")  # argsz, flags, num_regions, num_irqs
IRQ_INFO = struct.Struct("=IIII")  # argsz, flags, index, count
REGION_ACCESS = struct.Struct("=QII")  # offset, region, count; then data
WRITE_MULTI = struct.Struct("=Q")  # count; then as many WRITEs
WRITE = struct.Struct("=QII8s")  # offset, region, count; the data, of which count bytes count
DEVICE_FEATURE = struct.Struct("=II")  # argsz, flags; then the feature's structure
MIG_DATA = struct.Struct("=II")  # argsz, size; then data
DMA_ACCESS = struct.Struct("=QQ")  # address, count; then data

DEFAULT_MAX_MSG_FDS = 1
DEFAULT_MAX_DATA_XFER_SIZE = 1 << 20
DEFAULT_PGSIZES = 4096

# What Linux passes in one message at most (SCM_MAX_FD).
MAX_MSG_FDS = 253
# The most that QEMU's client takes for an answer; to it a larger number is malformed.
QEMU_MAX_MSG_FDS = 16
MAX_DATA_XFER_SIZE = DEFAULT_MAX_DATA_XFER_SIZE
# Whatever is not data (the fixed structures, booleans for 2048 vectors, JSON) fits in this.
MAX_MESSAGE_SIZE = HEADER_SIZE + MAX_DATA_XFER_SIZE + 4096


class Capabilities(NamedTuple):
    """What the sender of a VERSION message can do, with the specification's defaults."""

    max_msg_fds: int = DEFAULT_MAX_MSG_FDS
    max_data_xfer_size: int = DEFAULT_MAX_DATA_XFER_SIZE
    pgsizes: int = DEFAULT_PGSIZES
    write_multiple: bool = False
    twin_socket: bool = False
    twin_fd_index: int | None = None
    """Which of the message's fds is the twin socket; in a server's reply only."""


def pack_version(
    minor: int,
    *,
    max_msg_fds: int = MAX_MSG_FDS,
    max_dma_maps: int | None = None,
    write_multiple: bool = False,
    twin_socket: bool = False,
    twin_fd_index: int | None = None,
) -> bytes:
    """VERSION of either direction with our capabilities; max_dma_maps is a server's.

    Short on purpose: QEMU's client has room for no more than the length of its own request.
    """
    capabilities: dict[str, object] = {
        "max_msg_fds": max_msg_fds,
        "max_data_xfer_size": MAX_DATA_XFER_SIZE,
    }
    if max_dma_maps is not None:
        capabilities["max_dma_maps"] = max_dma_maps
    if write_multiple:
        capabilities["write_multiple"] = True
    if twin_socket:
        twin: dict[str, object] = {"supported": True}
        if twin_fd_index is not None:
            twin["fd_index"] = twin_fd_index
        capabilities["twin_socket"] = twin
    text = json.dumps({"capabilities": capabilities}, separators=(",", ":"))
    return VERSION.pack(MAJOR, minor) + text.encode() + b"\0"


def unpack_version(payload: bytes) -> tuple[int, int, Capabilities]:
    """(major, minor, the sender's capabilities). Raises ProtocolError, naming what is wrong."""
    if len(payload) < VERSION.size:
        raise ProtocolError(f"{len(payload)} bytes of payload")
    major, minor = VERSION.unpack_from(payload)
    text = payload[VERSION.size :].removesuffix(b"\0")
    try:
        data = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise ProtocolError("capabilities that are no JSON") from None
    capabilities = data.get("capabilities", {}) if isinstance(data, dict) else None
    if not isinstance(capabilities, dict):
        raise ProtocolError("capabilities that are no JSON object")
    twin = capabilities.get("twin_socket", {})
    if not isinstance(twin, dict):
        raise ProtocolError("a twin_socket that is no JSON object")
    default = Capabilities()
    return (
        major,
        minor,
        Capabilities(
            # What the peer can take is no order to send as much.
            min(_number(capabilities, "max_msg_fds", default.max_msg_fds, 0), MAX_MSG_FDS),
            min(
                _number(capabilities, "max_data_xfer_size", default.max_data_xfer_size, 8),
                MAX_DATA_XFER_SIZE,
            ),
            _number(capabilities, "pgsizes", default.pgsizes, 1),
            capabilities.get("write_multiple") is True,
            twin.get("supported") is True,
            _number(twin, "fd_index", 0, 0) if "fd_index" in twin else None,
        ),
    )


def _number(values: dict[str, object], name: str, default: int, least: int) -> int:
    value = values.get(name, default)
    if type(value) is not int or not least <= value < 1 << 64:
        raise ProtocolError(f"{name} {value!r:.40}")
    return value
