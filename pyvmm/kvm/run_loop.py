# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The run loop: KVM_RUN, and an answer to each trapped access. The one hot place.

Per exit it makes one system call, one dictionary look-up and one call of a handler, and
allocates nothing but small ints. fcntl.ioctl() is used because it lets other threads run while
the guest does, and is the quickest way to a system call that Python has; where it can't be used,
ctypes takes some tenths of a microsecond more. The try statements in the loop cost nothing until
something is raised.
"""

from __future__ import annotations

import sys
from errno import EAGAIN, EINTR

from ..uapi.kvm import KVM_EXIT_IO, KVM_EXIT_MMIO, KVM_RUN
from .exits import KICKED, HandlerFailed, RunFailed, decode
from .kick import IMMEDIATE_EXIT

if sys.version_info >= (3, 14):
    # fcntl's makes a call again that a signal has ended: KVM_RUN would go on for ever.
    from ..uapi.ioctl import ioctl
else:
    from fcntl import ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .exits import Exit
    from .vcpu import Vcpu

    Access = tuple[Callable[[int, int], int], Callable[[int, int, int], None], int]

    class AccessMap(Protocol):
        """Who answers an access: (read, write, offset), by address << 4 | size.

        The cache is one dictionary for good, filled by lookup(). Sizes are 1, 2, 4 and 8 bytes.
        """

        cache: dict[int, Access]

        def lookup(self, address: int, size: int, /) -> Access: ...


# Where things are in kvm_run, as indices into its views of 1, 2, 4 and 8 bytes.
EXIT_REASON_U32 = 8 // 4
IO_DIRECTION_U8 = 32
IO_SIZE_U8 = 33
IO_PORT_U16 = 34 // 2
IO_COUNT_U32 = 36 // 4
IO_DATA_OFFSET_U64 = 40 // 8
MMIO_ADDRESS_U64 = 32 // 8
MMIO_DATA_U64 = 40 // 8
MMIO_SIZE_U32 = 48 // 4
MMIO_IS_WRITE_U8 = 52

# By size in bytes. KVM cuts an access that crosses a page into pieces of any size up to 8.
MASKS = tuple((1 << 8 * size) - 1 for size in range(9))


def run(vcpu: Vcpu, ports: AccessMap, mmio: AccessMap) -> Exit:
    """Run the vCPU on the calling thread, until something ends it that is no port or MMIO access.

    A kick ends it with KICKED; an exception out of a handler ends it with HandlerFailed, and so
    does everything else with an Exit of its own. Raises RuntimeError if another thread runs it.
    """
    vcpu.enter()
    try:
        return _run(vcpu, ports, mmio)
    finally:
        vcpu.leave()


def _run(vcpu: Vcpu, ports: AccessMap, mmio: AccessMap) -> Exit:
    fd = vcpu.fd
    u8, u16, u32, u64 = vcpu.kvm_run
    cached_ports = ports.cache
    cached_mmio = mmio.cache
    try:
        while True:
            try:
                ioctl(fd, KVM_RUN)
            except OSError as error:
                if error.errno == EAGAIN:  # INIT or SIPI has come to a waiting processor
                    continue
                if error.errno == EINTR:
                    u8[IMMEDIATE_EXIT] = 0
                    return KICKED
                return RunFailed(vcpu, error.errno or 0)
            reason = u32[EXIT_REASON_U32]
            if reason == KVM_EXIT_MMIO:
                address = u64[MMIO_ADDRESS_U64]
                size = u32[MMIO_SIZE_U32]
                try:
                    read, write, offset = cached_mmio[address << 4 | size]
                except KeyError:
                    read, write, offset = _find(mmio, address, size)
                if u8[MMIO_IS_WRITE_U8]:
                    write(offset, size, u64[MMIO_DATA_U64] & MASKS[size])
                else:
                    u64[MMIO_DATA_U64] = read(offset, size) & MASKS[size]
            elif reason == KVM_EXIT_IO:
                port = u16[IO_PORT_U16]
                size = u8[IO_SIZE_U8]
                try:
                    read, write, offset = cached_ports[port << 4 | size]
                except KeyError:
                    read, write, offset = ports.lookup(port, size)
                data = u64[IO_DATA_OFFSET_U64]
                if u32[IO_COUNT_U32] != 1:
                    _string_io(vcpu, read, write, offset)
                elif u8[IO_DIRECTION_U8]:
                    write(offset, size, u32[data >> 2] & MASKS[size])
                else:
                    u32[data >> 2] = read(offset, size) & MASKS[size]
            else:
                return decode(vcpu)
    except Exception as error:
        return HandlerFailed(vcpu, error)


def _string_io(
    vcpu: Vcpu,
    read: Callable[[int, int], int],
    write: Callable[[int, int, int], None],
    offset: int,
) -> None:
    """INS and OUTS: count accesses of one port, their data in a row."""
    u8, _, u32, u64 = vcpu.kvm_run
    size = u8[IO_SIZE_U8]
    start = u64[IO_DATA_OFFSET_U64]
    is_out = u8[IO_DIRECTION_U8]
    for at in range(start, start + u32[IO_COUNT_U32] * size, size):
        if is_out:
            write(offset, size, int.from_bytes(u8[at : at + size], "little"))
        else:
            u8[at : at + size] = (read(offset, size) & MASKS[size]).to_bytes(size, "little")


def _find(mmio: AccessMap, address: int, size: int) -> Access:
    """Who answers an access that isn't cached. Handlers know powers of two only."""
    if size & (size - 1) == 0:
        return mmio.lookup(address, size)
    pieces = []
    done = 0
    while done < size:
        piece = 4 if size - done >= 4 else 2 if size - done >= 2 else 1
        pieces.append((*mmio.lookup(address + done, piece), piece, 8 * done))
        done += piece

    def read(_offset: int, _size: int) -> int:
        value = 0
        for read_piece, _write, offset, piece, shift in pieces:
            value |= (read_piece(offset, piece) & MASKS[piece]) << shift
        return value

    def write(_offset: int, _size: int, value: int) -> None:
        for _read, write_piece, offset, piece, shift in pieces:
            write_piece(offset, piece, value >> shift & MASKS[piece])

    return read, write, 0
