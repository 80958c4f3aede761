# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-blk: a drive on a file, a block device or memory (section 5.2)."""

from __future__ import annotations

import struct

from pyvmm.models.backing import Backing
from pyvmm.models.defaults import BLOCK_SIZE, BLOCK_SIZES, DRIVE_SIZE
from pyvmm.models.errors import ModelError
from pyvmm.models.file_dma import Segment
from pyvmm.vfio import DmaFault

from .pci import VirtioDevice, identity, part
from .virtqueue import Chain, QueueBroken

SECTOR = 512
MOST_ZEROES = 1 << 16  # sectors of one request to discard or to zero

# Request types (section 5.2.6)
IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
# Status
OK, IOERR, UNSUPP = 0, 1, 2
# Features
SIZE_MAX, SEG_MAX, RO, BLK_SIZE = 1 << 1, 1 << 2, 1 << 5, 1 << 6
FLUSHES, DISCARDS, ZEROES = 1 << 9, 1 << 13, 1 << 14

_HEADER = struct.Struct("<I4xQ")
_RANGE = struct.Struct("<QII")
_MOST_RANGES = 16  # to discard; to zero it is one, as that may be writing
_MOST_SEGMENTS = 254  # of data; a header and a status make a full queue
_SEGMENT_SIZE = 256 << 10  # bytes that a segment is to have at most
_MOST_DATA = _MOST_SEGMENTS * _SEGMENT_SIZE  # bytes of a request, in segments of any size
_UNMAP = 1 << 0


class _Unsupported(Exception):
    pass


class VirtioBlk(VirtioDevice):
    """1af4:1042."""

    identity = identity(2, class_code=0x018000)
    queue_sizes = (256,)

    def __init__(
        self,
        name: str = "virtio-blk",
        *,
        file: str = "",
        size: int = DRIVE_SIZE,
        block_size: int = BLOCK_SIZE,
        read_only: bool = False,
        serial: str = "",
    ) -> None:
        """A drive that is a file or block device; without one, `size` bytes in memory.

        Raises ModelError.
        """
        if block_size not in BLOCK_SIZES:
            possible = " and ".join(map(str, BLOCK_SIZES))
            raise ModelError(f"blocks of {block_size} bytes: {possible} are possible")
        self.block_size = block_size
        features = SIZE_MAX | SEG_MAX | BLK_SIZE | FLUSHES
        super().__init__(name, features=features | (RO if read_only else DISCARDS | ZEROES))
        try:
            if file:
                self.backing = Backing.open(file, read_only=read_only)
            else:
                self.backing = Backing.memory(size, read_only=read_only)
        except BaseException:
            super().close()
            raise
        self.serial = serial or f"pyvmm-{self.backing.identity.hex[:12]}"
        self.sectors = self.backing.size // block_size * block_size // SECTOR

    def close(self) -> None:
        super().close()
        self.backing.close()

    def configuration(self) -> bytes:
        """struct virtio_blk_config (section 5.2.4)."""
        data = struct.pack("<QIII", self.sectors, _SEGMENT_SIZE, _MOST_SEGMENTS, 0)
        data += struct.pack("<I12x", self.block_size)
        alignment = self.block_size // SECTOR
        data += struct.pack("<III", MOST_ZEROES, _MOST_RANGES, alignment)
        return data + struct.pack("<IIB3x", MOST_ZEROES, 1, 1)

    def handle(self, queue: int, chain: Chain) -> int:
        header = self.read_chain(chain, _HEADER.size)
        room = chain.room - 1
        if len(header) < _HEADER.size or room < 0:
            raise QueueBroken("a request without a header or a status")
        kind, sector = _HEADER.unpack(header)
        written = 0
        try:
            written = self._do(kind, sector, chain, room)
            status = OK
        except _Unsupported:
            status = UNSUPP
        except (OSError, DmaFault) as error:
            why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            self.guest_error(f"a request that can't be done: {why}")
            status = IOERR
        ((iova, _),) = part(chain.writable, room, 1)
        self.dma_write(iova, bytes((status,)))
        return written + 1

    def _do(self, kind: int, sector: int, chain: Chain, room: int) -> int:
        """The bytes written to memory. Raises OSError, DmaFault, _Unsupported."""
        if kind == IN:
            segments = part(chain.writable, 0, room)
            place = self._place(sector, segments)
            if not self.backing.read_quickly(self, *place):
                self.backing.read_into(self, *place)
            return room
        if kind == GET_ID:
            return self.fill_chain(chain, self.serial.encode().ljust(20, b"\0")[: min(room, 20)])
        if kind == FLUSH:
            self.backing.flush()
            return 0
        if self.backing.read_only:
            raise PermissionError("the drive is read-only")
        if kind == OUT:
            segments = part(chain.readable, _HEADER.size, 1 << 64)
            self.backing.write_from(self, *self._place(sector, segments))
        elif kind in (DISCARD, WRITE_ZEROES):
            self._clear(kind, chain)
        else:
            raise _Unsupported
        if not self.accepted & FLUSHES:  # who can't ask for it gets it always
            self.backing.flush()
        return 0

    def _place(self, sector: int, segments: list[Segment]) -> tuple[int, list[Segment], int]:
        """What a backing takes: offset, segments, size. Raises OSError."""
        size = sum(length for _, length in segments)
        if size % SECTOR or sector + size // SECTOR > self.sectors:
            raise OSError("there are no such sectors")
        if size > _MOST_DATA or len(segments) > _MOST_SEGMENTS:
            raise OSError("more than a request may move")
        return sector * SECTOR, segments, size

    def _clear(self, kind: int, chain: Chain) -> None:
        most = _RANGE.size * (_MOST_RANGES if kind == DISCARD else 1)
        data = self.read_chain(chain, _HEADER.size + most + 1)[_HEADER.size :]
        if len(data) > most or len(data) % _RANGE.size:
            raise OSError("a part of a range, or more of them than may be")
        for sector, count, flags in _RANGE.iter_unpack(data):
            if count > MOST_ZEROES or sector + count > self.sectors:
                raise OSError("there are no such sectors")
            if flags & ~_UNMAP or (kind == DISCARD and flags):
                raise _Unsupported
            offset, size = sector * SECTOR, count * SECTOR
            if count and kind == WRITE_ZEROES:
                self.backing.write_zeroes(offset, size, deallocate=bool(flags & _UNMAP))
            elif count:
                self.backing.deallocate(offset, size)
