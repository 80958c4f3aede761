# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Queries: what a client asks a vfio-user server about its device, with every answer checked."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from ...uapi.vfio import VFIO_DEVICE_FLAGS_PCI, VFIO_REGION_INFO_FLAG_MMAP
from .. import region_info
from ..device import DeviceInfo, IoEventFd, IrqInfo, RegionInfo
from ..errors import DeviceError, ProtocolError
from ..eventfd import EventFd
from ..mapping import check_size
from ..passed_fds import close_passed
from ..passed_files import check_local
from . import io_fds
from .channel import Channel
from .protocol import (
    DEVICE_INFO,
    IRQ_INFO,
    MAJOR,
    MAX_MSG_FDS,
    MINOR,
    VFIO_USER_DEVICE_GET_INFO,
    VFIO_USER_DEVICE_GET_IRQ_INFO,
    VFIO_USER_DEVICE_GET_REGION_INFO,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS,
    VFIO_USER_VERSION,
    Capabilities,
    command_name,
    pack_version,
    unpack_version,
)
from .transport import Message
from .twin_socket import take_twin

# Far more than any device has, and little enough to ask for each.
_MAX_INDEXES = 256
_MAX_INFO_SIZE = 64 << 10
_MAX_VECTORS = 4096


class Queries:
    """Asks over a channel. Answers that can't be true raise ProtocolError, and end it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ask(
        self,
        doing: str,
        command: int,
        payload: bytes,
        fds: Sequence[int] = (),
        *,
        timeout: float | None = None,
        max_fds: int = 0,
    ) -> Message:
        """The good reply to a command. Raises DeviceError for an error reply."""
        reply = self._channel.call(command, payload, fds, timeout=timeout, max_fds=max_fds)
        if reply.failed:
            reply.close()
            raise self.refused(doing, command, reply)
        return reply

    def refused(self, doing: str, command: int, reply: Message) -> DeviceError:
        """The error for an error reply."""
        asked = f"{self._channel.peer}: {doing}: {command_name(command)}"
        return DeviceError.answered(asked, reply.error, "see what its server says")

    def lied(self, command: int, what: str) -> ProtocolError:
        """The error for a reply that can't be true, which also ends the connection."""
        return self._channel.lied(command, what)

    def negotiate(self, timeout: float | None = None) -> tuple[Capabilities, socket.socket | None]:
        """Agree on a version; tells what the server can receive, and its twin socket, if any."""
        command = VFIO_USER_VERSION
        payload = pack_version(MINOR, write_multiple=True, twin_socket=True)
        doing = "agreeing on a version"
        reply = self.ask(doing, command, payload, timeout=timeout, max_fds=MAX_MSG_FDS)
        try:
            major, minor, capabilities = unpack_version(reply.payload)
            if major != MAJOR or minor > MINOR:
                raise ProtocolError(f"version {major}.{minor}, not {MAJOR}.{MINOR}")
            return capabilities, take_twin(reply, capabilities)
        except ProtocolError as e:
            raise self._channel.lied(command, str(e)) from None
        finally:
            reply.close()

    def device(self) -> DeviceInfo:
        """VFIO_USER_DEVICE_GET_INFO."""
        command = VFIO_USER_DEVICE_GET_INFO
        payload = DEVICE_INFO.pack(DEVICE_INFO.size, 0, 0, 0)
        reply = self.ask("asking for the device", command, payload)
        if len(reply.payload) < DEVICE_INFO.size:
            raise self._channel.lied(command, f"{len(reply.payload)} bytes of payload")
        _, *fields = DEVICE_INFO.unpack_from(reply.payload)
        info = DeviceInfo(*fields)
        if not info.flags & VFIO_DEVICE_FLAGS_PCI:
            raise self._channel.lied(command, f"flags {info.flags:#x}: not a PCI device")
        if max(info.num_regions, info.num_irqs) > _MAX_INDEXES:
            counts = f"{info.num_regions} regions and {info.num_irqs} kinds of interrupt"
            raise self._channel.lied(command, counts)
        return info

    def region(self, index: int) -> tuple[RegionInfo, int]:
        """VFIO_USER_DEVICE_GET_REGION_INFO, with the region's file, or -1, for the caller.

        Asked twice: for the size of the answer, then for all of it.
        """
        command = VFIO_USER_DEVICE_GET_REGION_INFO
        argsz = region_info.INFO.size
        while True:
            payload = region_info.INFO.pack(argsz, 0, index, 0, 0, 0)
            reply = self.ask(f"asking for region {index}", command, payload, max_fds=1)
            fds = reply.take_fds()
            try:
                if len(reply.payload) < region_info.INFO.size:
                    raise ProtocolError(f"{len(reply.payload)} bytes of payload")
                full, _, got, *_ = region_info.INFO.unpack_from(reply.payload)
                if got != index:
                    raise ProtocolError(f"region {got} instead of {index}")
                if full > argsz == region_info.INFO.size and full <= _MAX_INFO_SIZE:
                    argsz = full
                    continue
                if full != len(reply.payload):
                    raise ProtocolError(f"argsz {full} and {len(reply.payload)} bytes of payload")
                info = region_info.parse(reply.payload)
                if info.offset + info.size > 1 << 63:
                    raise ProtocolError(f"region {index} of {info.size:#x} at {info.offset:#x}")
                if fds and info.areas:
                    end = info.offset + info.areas[-1].end
                    what = f"the file of region {index}"
                    check_local(fds[0], what)
                    check_size(fds[0], end, what)
                    return info, fds.pop()
                # Without a file nothing can be mapped, whatever the flags say.
                return info._replace(areas=(), flags=info.flags & ~VFIO_REGION_INFO_FLAG_MMAP), -1
            except (ProtocolError, DeviceError) as e:
                raise self._channel.lied(command, str(e)) from None
            finally:
                close_passed(fds)

    def ioeventfds(
        self, index: int, region_size: int
    ) -> tuple[tuple[IoEventFd, ...], list[EventFd]]:
        """VFIO_USER_DEVICE_GET_REGION_IO_FDS, with the owners of the fds, for the caller."""
        command = VFIO_USER_DEVICE_GET_REGION_IO_FDS
        fixed = argsz = io_fds.REGION_IO_FDS.size
        while True:
            payload = io_fds.REGION_IO_FDS.pack(argsz, 0, index, 0)
            try:
                reply = self.ask("asking for doorbells", command, payload, max_fds=MAX_MSG_FDS)
            except DeviceError:
                return (), []  # it is an optional command
            eventfds: dict[int, EventFd] = {}  # by their places among the fds
            try:
                if len(reply.payload) < fixed:
                    raise ProtocolError(f"{len(reply.payload)} bytes of payload")
                full = io_fds.REGION_IO_FDS.unpack_from(reply.payload)[0]
                if fixed == argsz < full <= _MAX_INFO_SIZE:
                    argsz = full
                    continue
                found = io_fds.unpack(reply.payload, index, region_size, len(reply.fds))
                for doorbell in found:
                    if doorbell.fd not in eventfds:
                        eventfds[doorbell.fd] = EventFd.from_fd(reply.fds[doorbell.fd])
            except (ProtocolError, DeviceError) as e:
                for eventfd in eventfds.values():
                    eventfd.close()
                if isinstance(e, DeviceError) and e.errno in (errno.EMFILE, errno.ENFILE):
                    raise  # the server can't help it: the limit is ours
                raise self._channel.lied(command, str(e)) from None
            finally:
                reply.close()
            doorbells = (each._replace(fd=eventfds[each.fd].fileno()) for each in found)
            return tuple(doorbells), list(eventfds.values())

    def irq(self, index: int) -> IrqInfo:
        """VFIO_USER_DEVICE_GET_IRQ_INFO."""
        command = VFIO_USER_DEVICE_GET_IRQ_INFO
        payload = IRQ_INFO.pack(IRQ_INFO.size, 0, index, 0)
        reply = self.ask(f"asking for interrupt kind {index}", command, payload)
        if len(reply.payload) < IRQ_INFO.size:
            raise self._channel.lied(command, f"{len(reply.payload)} bytes of payload")
        _, flags, got, count = IRQ_INFO.unpack_from(reply.payload)
        if got != index or count > _MAX_VECTORS:
            raise self._channel.lied(command, f"{count} interrupts of kind {got}")
        return IrqInfo(index, flags, count)
