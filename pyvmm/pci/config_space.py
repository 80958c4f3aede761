# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The configuration space of an emulated function: bytes, write masks and capability chains.

A bit is read-only unless it was made writable, or write-1-to-clear. Whoever owns the space
(the host bridge, a model) declares its contents once; from then on `read` and `write` are the
guest's way in and take anything, while `u16`, `set_u16` and the like are the owner's, which
see and change every bit.
"""

from __future__ import annotations

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_BASE_ADDRESS_MEM_PREFETCH,
    PCI_BASE_ADDRESS_MEM_TYPE_64,
    PCI_BASE_ADDRESS_SPACE_IO,
    PCI_CACHE_LINE_SIZE,
    PCI_CAPABILITY_LIST,
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_CFG_SPACE_SIZE,
    PCI_CLASS_REVISION,
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_IO,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
    PCI_COMMAND_PARITY,
    PCI_COMMAND_SERR,
    PCI_DEVICE_ID,
    PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_PIN,
    PCI_LATENCY_TIMER,
    PCI_ROM_ADDRESS,
    PCI_ROM_ADDRESS_ENABLE,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_STATUS_DETECTED_PARITY,
    PCI_STATUS_PARITY,
    PCI_STATUS_REC_MASTER_ABORT,
    PCI_STATUS_REC_TARGET_ABORT,
    PCI_STATUS_SIG_SYSTEM_ERROR,
    PCI_STATUS_SIG_TARGET_ABORT,
    PCI_STD_HEADER_SIZEOF,
    PCI_STD_NUM_BARS,
    PCI_SUBSYSTEM_ID,
    PCI_SUBSYSTEM_VENDOR_ID,
    PCI_VENDOR_ID,
)

_COMMAND_BITS = (
    PCI_COMMAND_IO
    | PCI_COMMAND_MEMORY
    | PCI_COMMAND_MASTER
    | PCI_COMMAND_PARITY
    | PCI_COMMAND_SERR
    | PCI_COMMAND_INTX_DISABLE
)
STATUS_ERRORS = (
    PCI_STATUS_PARITY
    | PCI_STATUS_SIG_TARGET_ABORT
    | PCI_STATUS_REC_TARGET_ABORT
    | PCI_STATUS_REC_MASTER_ABORT
    | PCI_STATUS_SIG_SYSTEM_ERROR
    | PCI_STATUS_DETECTED_PARITY
)
"""The bits of a status register, or a bridge's secondary one, that tell of errors."""

_CAPABILITY_HEADER = 2  # id, next
_EXTENDED_HEADER = 4  # id, version, next


class ConfigSpace:
    """A configuration space of 256 bytes, or of 4096 with the extended part.

    What headers of all types have, command, status (error bits, write-1-to-clear), cache line
    size, latency timer and interrupt line, behaves as the PCI specification has it; all else is
    zero and read-only until declared. BARs are those of a type 0 header.
    """

    __slots__ = ("_claimed", "_last", "_last_extended", "_writable", "_write_1_to_clear", "data")

    data: bytearray
    """The bytes themselves."""

    def __init__(self, size: int = PCI_CFG_SPACE_SIZE) -> None:
        if size not in (PCI_CFG_SPACE_SIZE, PCI_CFG_SPACE_EXP_SIZE):
            raise ValueError(f"a configuration space has 256 or 4096 bytes, not {size}")
        self.data = bytearray(size)
        self._writable = bytearray(size)
        self._write_1_to_clear = bytearray(size)
        self._claimed = bytearray(size)  # 1 where the header or a capability is
        self._claimed[:PCI_STD_HEADER_SIZEOF] = b"\1" * PCI_STD_HEADER_SIZEOF
        self._last = 0  # offset of the capability added last, the end of the chain
        self._last_extended = 0
        self.make_writable(PCI_COMMAND, 2, _COMMAND_BITS)
        self.make_write_1_to_clear(PCI_STATUS, 2, STATUS_ERRORS)
        self.make_writable(PCI_CACHE_LINE_SIZE, 1)
        self.make_writable(PCI_LATENCY_TIMER, 1)
        self.make_writable(PCI_INTERRUPT_LINE, 1)

    @property
    def size(self) -> int:
        """256 or 4096 (bytes)."""
        return len(self.data)

    # The guest's way in.

    def read(self, offset: int, size: int) -> int:
        """The `size` bytes at `offset` (not negative), little-endian; 0xff beyond the end."""
        found = self.data[offset : offset + size]
        value = int.from_bytes(found, "little")
        if len(found) < size:
            value |= (1 << 8 * size) - (1 << 8 * len(found))
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """Change the writable bits of the `size` bytes at `offset`, and clear write-1-to-clear
        bits that are 1 in `value`. Bytes beyond the end of the space, and bits of `value` beyond
        `size`, are dropped; `offset` is not negative.
        """
        end = min(offset + size, len(self.data))
        if end <= offset:
            return
        old = int.from_bytes(self.data[offset:end], "little")
        writable = int.from_bytes(self._writable[offset:end], "little")
        clear = int.from_bytes(self._write_1_to_clear[offset:end], "little") & value
        new = (old & ~writable | value & writable) & ~clear
        self.data[offset:end] = new.to_bytes(end - offset, "little")

    def restore(self, data: bytes) -> None:
        """Have the bits that a guest can change as in `data`, a space of the same size."""
        own = int.from_bytes(self.data, "little")
        guests = int.from_bytes(self._writable, "little")
        guests |= int.from_bytes(self._write_1_to_clear, "little")
        new = own & ~guests | int.from_bytes(data, "little") & guests
        self.data[:] = new.to_bytes(len(self.data), "little")

    # The owner's way in: every bit, no masks.

    def u8(self, offset: int) -> int:
        return self.data[offset]

    def u16(self, offset: int) -> int:
        return int.from_bytes(self.data[offset : offset + 2], "little")

    def u32(self, offset: int) -> int:
        return int.from_bytes(self.data[offset : offset + 4], "little")

    def set_u8(self, offset: int, value: int) -> None:
        self.data[offset] = value

    def set_u16(self, offset: int, value: int) -> None:
        self.data[offset : offset + 2] = value.to_bytes(2, "little")

    def set_u32(self, offset: int, value: int) -> None:
        self.data[offset : offset + 4] = value.to_bytes(4, "little")

    def make_writable(self, offset: int, size: int, mask: int = -1) -> None:
        """Let `write` change the bits of `mask` (all, unless told) in `size` bytes at `offset`."""
        _add_mask(self._writable, offset, size, mask)

    def make_write_1_to_clear(self, offset: int, size: int, mask: int = -1) -> None:
        """Let `write` clear the bits of `mask` in `size` bytes at `offset` by writing 1 to them."""
        _add_mask(self._write_1_to_clear, offset, size, mask)

    # Declaring what the function is.

    def set_ids(
        self,
        vendor: int,
        device: int,
        *,
        class_code: int,
        revision: int = 0,
        subsystem_vendor: int = 0,
        subsystem: int = 0,
    ) -> None:
        """Identity; `class_code` is base class, sub-class and interface, 24 bits."""
        self.set_u16(PCI_VENDOR_ID, vendor)
        self.set_u16(PCI_DEVICE_ID, device)
        self.set_u32(PCI_CLASS_REVISION, class_code << 8 | revision)
        self.set_u16(PCI_SUBSYSTEM_VENDOR_ID, subsystem_vendor)
        self.set_u16(PCI_SUBSYSTEM_ID, subsystem)

    def set_interrupt_pin(self, pin: int) -> None:
        """1 to 4 for INTA to INTD, 0 for a function without INTx."""
        self.set_u8(PCI_INTERRUPT_PIN, pin)

    def set_bar(
        self,
        index: int,
        size: int,
        *,
        io: bool = False,
        wide: bool = False,
        prefetchable: bool = False,
    ) -> None:
        """Base address register `index` of `size` bytes (a power of two); `wide` is a 64-bit one,
        which takes the next register too.
        """
        smallest = 4 if io else 16
        if size < smallest or size & size - 1:
            raise ValueError(f"BAR {index}: {size} bytes is no power of two of {smallest} or more")
        if not 0 <= index < PCI_STD_NUM_BARS - wide:
            raise ValueError(f"BAR {index}: there is no such base address register")
        flags = PCI_BASE_ADDRESS_SPACE_IO if io else 0
        if wide:
            flags |= PCI_BASE_ADDRESS_MEM_TYPE_64
        if prefetchable:
            flags |= PCI_BASE_ADDRESS_MEM_PREFETCH
        offset = PCI_BASE_ADDRESS_0 + 4 * index
        self.set_u32(offset, flags)
        self.make_writable(offset, 8 if wide else 4, -size)

    def set_rom(self, size: int) -> None:
        """An expansion ROM of `size` bytes (a power of two, 2048 or more)."""
        if size < 2048 or size & size - 1:
            raise ValueError(f"expansion ROM: {size} bytes is no power of two of 2048 or more")
        self.make_writable(PCI_ROM_ADDRESS, 4, -size | PCI_ROM_ADDRESS_ENABLE)

    def add_capability(self, cap_id: int, body: bytes, writable: bytes = b"", at: int = 0) -> int:
        """Append a capability to the chain and return its offset.

        `body` follows the two header bytes (id, next). `writable` masks the body's bytes; those
        it does not reach are read-only. `at` is the offset wanted, otherwise the first that is
        free. Raises ValueError if there is no room.
        """
        length = _CAPABILITY_HEADER + len(body)
        offset = self._claim(at, length, PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE)
        self.data[offset] = cap_id
        self._fill(offset + _CAPABILITY_HEADER, body, writable)
        if self._last:
            self.data[self._last + 1] = offset
        else:
            self.data[PCI_CAPABILITY_LIST] = offset
            self.data[PCI_STATUS] |= PCI_STATUS_CAP_LIST
        self._last = offset
        return offset

    def add_extended_capability(
        self, cap_id: int, version: int, body: bytes, writable: bytes = b"", at: int = 0
    ) -> int:
        """Append an extended capability, as `add_capability` does; `body` follows the four
        header bytes. The first one is always at 0x100.
        """
        length = _EXTENDED_HEADER + len(body)
        if not self._last_extended:
            if at not in (0, PCI_CFG_SPACE_SIZE):
                raise ValueError(f"the first extended capability is at 0x100, not {at:#x}")
            at = PCI_CFG_SPACE_SIZE
        offset = self._claim(at, length, PCI_CFG_SPACE_SIZE, self.size)
        self.set_u32(offset, version << 16 | cap_id)
        self._fill(offset + _EXTENDED_HEADER, body, writable)
        if self._last_extended:
            header = self.u32(self._last_extended) & 0xFFFFF
            self.set_u32(self._last_extended, offset << 20 | header)
        self._last_extended = offset
        return offset

    def _claim(self, at: int, length: int, start: int, end: int) -> int:
        """Take `length` free bytes between `start` and `end`, at a multiple of four."""
        for offset in (at,) if at else range(start, end, 4):
            inside = start <= offset <= end - length and offset % 4 == 0
            if inside and not any(self._claimed[offset : offset + length]):
                self._claimed[offset : offset + length] = b"\1" * length
                return offset
        where = f"at {at:#x}" if at else f"from {start:#x} to {end:#x}"
        raise ValueError(f"no room for a capability of {length} bytes {where}")

    def _fill(self, offset: int, body: bytes, writable: bytes) -> None:
        if len(writable) > len(body):
            raise ValueError(f"a mask of {len(writable)} bytes for {len(body)} bytes")
        self.data[offset : offset + len(body)] = body
        self._writable[offset : offset + len(writable)] = writable


def _add_mask(masks: bytearray, offset: int, size: int, mask: int) -> None:
    bits = int.from_bytes(masks[offset : offset + size], "little")
    bits |= mask & (1 << 8 * size) - 1
    masks[offset : offset + size] = bits.to_bytes(size, "little")
