# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Session: one client of a served device, from its VERSION to its end."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from ...uapi.vfio import (
    VFIO_REGION_INFO_FLAG_CAPS,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from .. import region_info
from ..device import Device, RegionInfo
from ..errors import DeviceError, ProtocolError, VfioError
from ..software.dma_table import DmaTable
from . import io_fds
from .answer import Reply
from .channel import Channel
from .client_irqs import ClientIrqs
from .protocol import (
    DEVICE_INFO,
    DMA_MAP,
    DMA_UNMAP,
    F_DMA_REGION_READ,
    F_DMA_REGION_WRITE,
    F_DMA_UNMAP_ALL,
    IRQ_INFO,
    MAJOR,
    MAX_DATA_XFER_SIZE,
    MINOR,
    QEMU_MAX_MSG_FDS,
    REGION_ACCESS,
    VFIO_USER_DEVICE_FEATURE,
    VFIO_USER_DEVICE_GET_INFO,
    VFIO_USER_DEVICE_GET_IRQ_INFO,
    VFIO_USER_DEVICE_GET_REGION_INFO,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS,
    VFIO_USER_DEVICE_RESET,
    VFIO_USER_DEVICE_SET_IRQS,
    VFIO_USER_DMA_MAP,
    VFIO_USER_DMA_UNMAP,
    VFIO_USER_MIG_DATA_READ,
    VFIO_USER_MIG_DATA_WRITE,
    VFIO_USER_REGION_READ,
    VFIO_USER_REGION_WRITE,
    VFIO_USER_REGION_WRITE_MULTI,
    VFIO_USER_VERSION,
    WRITE,
    WRITE_MULTI,
    Capabilities,
    command_name,
    pack_version,
    unpack_version,
)
from .quiesce import quiesce
from .remote_dma import RemoteDma
from .served_features import ServedFeatures
from .statistics import Statistics
from .survive import survive
from .transport import Message

# Bytes that are asked for in one message of a client without a twin socket, such as QEMU's (11.1):
# of a longer answer it sends what its socket has room for, and never the rest. There is room for
# those to several threads.
_MOST_BY_MESSAGE = 32 << 10
_NEWER_DMA_FLAGS = 0xC  # libvfio-user's, hints that nothing depends on
# Each mapping of a client's takes an area of our address space or a descriptor. Of areas a process
# has 65,530 (vm.max_map_count): a quarter of them is enough for any VMM with a virtual IOMMU, and
# leaves the rest to everybody else here.
_MAX_DMA_MAPS = 16384


class Session:
    """Carries out a client's commands on a device, and leaves nothing of its when it goes.

    The client is not trusted: each field is checked before the device sees the command, and
    whatever the device raises becomes an error reply.
    """

    def __init__(
        self, sock: socket.socket, device: Device, timeout: float, statistics: Statistics
    ) -> None:
        """Take over the socket. timeout is in seconds, for the client's answers."""
        self._counts = statistics.commands
        self._device = device
        self._client: Capabilities | None = None
        self._mapped: set[tuple[int, int]] = set()
        self._regions: dict[int, RegionInfo] = {}
        self._irqs = ClientIrqs(device)
        self._features = ServedFeatures(device)
        self._commands: dict[int, Callable[[Message], bytes | Reply]] = {
            VFIO_USER_REGION_READ: self._region_read,
            VFIO_USER_REGION_WRITE: self._region_write,
            VFIO_USER_VERSION: self._version,
            VFIO_USER_DMA_MAP: self._dma_map,
            VFIO_USER_DMA_UNMAP: self._dma_unmap,
            VFIO_USER_DEVICE_GET_INFO: self._get_info,
            VFIO_USER_DEVICE_GET_REGION_INFO: self._get_region_info,
            VFIO_USER_DEVICE_GET_REGION_IO_FDS: self._get_region_io_fds,
            VFIO_USER_DEVICE_GET_IRQ_INFO: self._get_irq_info,
            VFIO_USER_DEVICE_SET_IRQS: self._set_irqs,
            VFIO_USER_DEVICE_RESET: self._reset,
            VFIO_USER_REGION_WRITE_MULTI: self._region_write_multi,
            VFIO_USER_DEVICE_FEATURE: self._features.feature,
            VFIO_USER_MIG_DATA_READ: self._features.read,
            VFIO_USER_MIG_DATA_WRITE: self._features.write,
        }
        self._timeout = timeout
        self._channel = Channel(sock, f"client of {device.name}", self._handle, timeout=timeout)
        self._twin: Channel | None = None
        """for DMA by message, if the client wants a socket of its own for that"""

    def run(self) -> VfioError | None:
        """Serve until the client is gone; tells why it is."""
        try:
            self._channel.serve(lambda: self._client is not None)
        finally:
            self._channel.close()
            if self._twin:
                self._twin.close()
            self._end()
        return self._channel.gone

    def _end(self) -> None:
        """Leave nothing of the client's, in an order in which nothing reaches what is its."""
        self._irqs.close()
        if self._client is not None:  # who never began has told the device nothing
            quiesce(self._device)
        for iova, size in self._mapped:
            with survive(f"{self._device.name}: unmapping IOVA {iova:#x}+{size:#x}"):
                self._device.dma.unmap(iova, size)
        self._mapped.clear()
        # Last: with its migration a device that is stopped goes on, and does what was held up.
        self._features.close()

    def hang_up(self) -> None:
        """Have run() end soon. Signal handlers may call it."""
        self._channel.hang_up()
        if self._twin:
            self._twin.hang_up()

    def _handle(self, message: Message) -> bytes | Reply:
        self._counts[message.command] += 1
        if self._client is None and message.command != VFIO_USER_VERSION:
            raise _invalid("a command before VFIO_USER_VERSION")
        command = self._commands.get(message.command)
        if command is None:
            raise DeviceError.answered(command_name(message.command), errno.EOPNOTSUPP)
        return command(message)

    def _version(self, message: Message) -> bytes | Reply:
        if self._client is not None:
            raise _invalid("a second VFIO_USER_VERSION")
        try:
            major, minor, capabilities = unpack_version(message.payload)
        except ProtocolError as e:
            raise _invalid(str(e)) from None
        if major != MAJOR:
            raise _invalid(f"version {major}.{minor}")
        self._client = capabilities
        # Any client may send as many fds as we can receive, but may not take the number.
        max_msg_fds = max(capabilities.max_msg_fds, QEMU_MAX_MSG_FDS)
        theirs = self._make_twin() if capabilities.twin_socket and capabilities.max_msg_fds else -1
        payload = pack_version(
            min(minor, MINOR),
            max_msg_fds=max_msg_fds,
            max_dma_maps=_MAX_DMA_MAPS,
            write_multiple=capabilities.write_multiple,
            twin_socket=theirs >= 0,
            twin_fd_index=0 if theirs >= 0 else None,
        )
        return Reply(payload, (theirs,), given_away=True) if theirs >= 0 else payload

    def _make_twin(self) -> int:
        """The client's end of a socket for our commands; -1 if there are no descriptors left."""
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return -1
        # Whoever calls reads the answer; nobody listens for anything else.
        self._twin = Channel(
            ours,
            self._channel.peer,
            _refuse,
            timeout=self._timeout,
            on_gone=self._channel.fail,
        )
        return theirs.detach()

    # What there is

    def _get_info(self, message: Message) -> bytes:
        _unpack(DEVICE_INFO, message)
        info = self._device.info
        return DEVICE_INFO.pack(DEVICE_INFO.size, info.flags, info.num_regions, info.num_irqs)

    def _get_region_info(self, message: Message) -> bytes | Reply:
        argsz, _, index, *_ = _unpack(region_info.INFO, message)
        info = self._region(index)
        fd = self._device.region_fd(index)
        assert self._client
        if fd < 0 or not self._client.max_msg_fds:
            info = info._replace(areas=())
        payload = region_info.build(info)
        if argsz >= len(payload):
            return Reply(payload, (fd,)) if info.areas else payload
        # Without room for the capabilities: their size, and no fd, which clients expect only
        # with them.
        full, flags, _, _, size, offset = region_info.INFO.unpack_from(payload)
        flags &= ~VFIO_REGION_INFO_FLAG_CAPS
        return region_info.INFO.pack(full, flags, index, 0, size, offset)

    def _region(self, index: int) -> RegionInfo:
        info = self._regions.get(index)
        if info is None:
            if index >= self._device.info.num_regions:
                raise _invalid(f"region {index}")
            info = self._regions[index] = self._device.region_info(index)
        return info

    def _get_region_io_fds(self, message: Message) -> bytes | Reply:
        argsz, flags, index, count = _unpack(io_fds.REGION_IO_FDS, message)
        if flags or count:
            raise _invalid(f"flags {flags:#x}, count {count}")
        self._region(index)
        doorbells = self._device.ioeventfds(index)
        assert self._client
        if doorbells and not self._client.max_msg_fds:
            raise DeviceError.answered("passing eventfds", errno.EOPNOTSUPP)
        # One reply has them all: the specification has no way to ask for the rest.
        payload, fds = io_fds.pack(index, io_fds.first(doorbells, self._client.max_msg_fds))
        if argsz >= len(payload):
            return Reply(payload, fds)
        return payload[: io_fds.REGION_IO_FDS.size]

    def _get_irq_info(self, message: Message) -> bytes:
        _, _, index, _ = _unpack(IRQ_INFO, message)
        if index >= self._device.info.num_irqs:
            raise _invalid(f"interrupt kind {index}")
        info = self._device.irq_info(index)
        return IRQ_INFO.pack(IRQ_INFO.size, info.flags, index, info.count)

    # Accesses

    def _region_read(self, message: Message) -> bytes:
        payload = message.payload
        if len(payload) < REGION_ACCESS.size:
            raise _invalid("a short payload")
        offset, index, count = REGION_ACCESS.unpack_from(payload)
        info = self._regions.get(index) or self._region(index)
        if count > MAX_DATA_XFER_SIZE or offset + count > info.size:
            raise _invalid(f"reading {count} bytes at {offset:#x} of region {index}")
        if not info.flags & VFIO_REGION_INFO_FLAG_READ:
            raise _invalid(f"reading region {index}")
        data = self._device.region_read(index, offset, count) if count else b""
        if len(data) != count:
            raise DeviceError.answered(f"reading {count} bytes gave {len(data)}", errno.EIO)
        return payload[: REGION_ACCESS.size] + data

    def _region_write(self, message: Message) -> bytes:
        payload = message.payload
        if len(payload) < REGION_ACCESS.size:
            raise _invalid("a short payload")
        offset, index, count = REGION_ACCESS.unpack_from(payload)
        data = payload[REGION_ACCESS.size :]
        if len(data) != count or count > MAX_DATA_XFER_SIZE:
            raise _invalid(f"writing {count} bytes, of which {len(data)} came")
        self._check_write(offset, index, count)
        if data:
            self._device.region_write(index, offset, data)
        return payload[: REGION_ACCESS.size]

    def _check_write(self, offset: int, index: int, count: int) -> None:
        info = self._regions.get(index) or self._region(index)
        if offset + count > info.size:
            raise _invalid(f"writing {count} bytes at {offset:#x} of region {index}")
        if not info.flags & VFIO_REGION_INFO_FLAG_WRITE:
            raise _invalid(f"writing region {index}")

    def _region_write_multi(self, message: Message) -> bytes:
        """None of the writes is done if one makes no sense; those before one that is refused are.

        The answer tells how many that was. If the very first is refused, it is why.
        """
        payload = message.payload
        if len(payload) < WRITE_MULTI.size:
            raise _invalid("a short payload")
        (count,) = WRITE_MULTI.unpack_from(payload)
        writes = payload[WRITE_MULTI.size :]
        if len(writes) != count * WRITE.size:
            raise _invalid(f"{count} writes in {len(writes)} bytes")
        for offset, index, size, data in WRITE.iter_unpack(writes):
            if size > len(data):
                raise _invalid(f"a write of {size} bytes among others")
            self._check_write(offset, index, size)
        done = 0
        try:
            for offset, index, size, data in WRITE.iter_unpack(writes):
                if size:
                    self._device.region_write(index, offset, data[:size])
                done += 1
        except DeviceError:
            if not done:
                raise
        return WRITE_MULTI.pack(done)

    # Memory

    def _dma_map(self, message: Message) -> bytes:
        _, flags, offset, iova, size = _unpack(DMA_MAP, message)
        readable = bool(flags & F_DMA_REGION_READ)
        writable = bool(flags & F_DMA_REGION_WRITE)
        known = F_DMA_REGION_READ | F_DMA_REGION_WRITE
        if not flags & known or flags & ~(known | _NEWER_DMA_FLAGS) or len(message.fds) > 1:
            raise _invalid(f"DMA_MAP with flags {flags:#x} and {len(message.fds)} fds")
        if len(self._mapped) >= _MAX_DMA_MAPS:
            raise DeviceError.answered(f"mapping IOVA {iova:#x}+{size:#x}", errno.ENOSPC)
        dma = self._device.dma
        if message.fds:
            dma.map(
                iova,
                size,
                address=0,
                fd=message.fds[0],
                offset=offset,
                readable=readable,
                writable=writable,
            )
        else:
            if not isinstance(dma, DmaTable):
                cure = "give the guest shared memory (memfd)"
                doing = f"mapping IOVA {iova:#x}+{size:#x} without a file"
                raise DeviceError.answered(doing, errno.EOPNOTSUPP, cure)
            assert self._client
            most, twin = self._client.max_data_xfer_size, self._twin
            if twin is None:
                most = min(most, _MOST_BY_MESSAGE)
            remote = RemoteDma(twin or self._channel, most, awaited=twin is not None)
            dma.map_remote(iova, size, remote, readable=readable, writable=writable)
        self._mapped.add((iova, size))
        return b""

    def _dma_unmap(self, message: Message) -> bytes:
        _, flags, iova, size = _unpack(DMA_UNMAP, message)
        if flags == F_DMA_UNMAP_ALL and not iova and not size:
            which = sorted(self._mapped)
        elif not flags:
            which = [(iova, size)]
        else:
            raise _invalid(f"DMA_UNMAP with flags {flags:#x} of {iova:#x}+{size:#x}")
        for mapped in which:
            if mapped not in self._mapped:
                raise DeviceError.answered(f"unmapping {iova:#x}+{size:#x}", errno.ENOENT)
            self._device.dma.unmap(*mapped)
            self._mapped.remove(mapped)
        return message.payload[: DMA_UNMAP.size]

    # Control

    def _set_irqs(self, message: Message) -> bytes:
        self._irqs.set(message)
        return b""

    def _reset(self, message: Message) -> bytes:
        self._device.reset()
        self._features.was_reset()
        return b""


def _refuse(message: Message) -> bytes:
    raise DeviceError.answered(command_name(message.command), errno.EOPNOTSUPP)


def _unpack(form: struct.Struct, message: Message) -> tuple[int, ...]:
    """The fields of a payload that begins with argsz, which must allow for an answer as long."""
    if len(message.payload) < form.size:
        raise _invalid(f"{command_name(message.command)} of {len(message.payload)} bytes")
    fields = form.unpack_from(message.payload)
    if fields[0] < form.size:
        raise _invalid(f"{command_name(message.command)} with argsz {fields[0]}")
    return fields


def _invalid(what: str) -> DeviceError:
    return DeviceError.answered(what, errno.EINVAL)
