# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux bzImages, started at their 64-bit entry: the setup header, and loading into guest RAM.

Source: the kernel's Documentation/arch/x86/boot.rst. The file is not trusted: what its header says
is checked before use.
"""

from __future__ import annotations

import struct

from pyvmm.memory import layout

from . import long_mode, zero_page
from .detect import ACCEPTED
from .errors import DoesNotFit, MalformedImage, NotAGuestImage
from .placement import COMMAND_LINE_PAGE, LONG_MODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.memory import GuestMemory

    from .image import ImageFile
    from .memory_map import MapEntry
    from .placement import Placement

_SECTOR = 512
_PARAGRAPH = 16

# Fields of the setup header, by their offset in the file.
_SETUP_SECTORS = 0x1F1
_CODE_SIZE = 0x1F4
_BOOT_FLAG = 0x1FE
_JUMP_OFFSET = 0x201
_VERSION = 0x206
_LOAD_FLAGS = 0x211
_INITRD_LIMIT = 0x22C
_ALIGNMENT = 0x230
_RELOCATABLE = 0x234
_EXT_LOAD_FLAGS = 0x236
_COMMAND_LINE_SIZE = 0x238
_PAYLOAD = 0x248
_PREFERRED_ADDRESS = 0x258
_INIT_SIZE = 0x260
_FIELDS_END = 0x264

_JUMP_END = 0x202  # the jump's target, which is the header's end, counts from here
_BOOT_FLAG_VALUE = 0xAA55
_SETUP_SECTORS_DEFAULT = 4
_OLDEST_VERSION = 0x020C  # the first to tell of the 64-bit entry
_LOADED_HIGH = 1 << 0
_KERNEL_64, _ABOVE_4G = 1 << 0, 1 << 1

_ENTRY_64 = 0x200
_LOAD_ADDRESS = layout.MIB
"""Of kernels that don't say where they would rather be."""
_SEED = LONG_MODE + 0x800  # behind the descriptors in their page

_AMD64 = "take a distribution's kernel for amd64 (x86-64)"


class SetupHeader:
    """What a bzImage's setup header tells, in bytes and guest-physical addresses.

    The code to load are the code_size bytes at code_start in the file. It goes to address, and
    from there to end is what it needs of RAM before it knows of the rest. initrd_limit is the
    first address that the initrd may not have. raw is the header itself.
    """

    __slots__ = (
        "address",
        "code_size",
        "code_start",
        "command_line_limit",
        "end",
        "initrd_limit",
        "raw",
    )

    def __init__(self, image: ImageFile) -> None:
        """Read and check it. Raises NotAGuestImage, MalformedImage, UnreadableImage."""
        head = image.read(0, zero_page.HEADER_LIMIT)
        path = image.path
        if len(head) < _FIELDS_END:
            raise MalformedImage(path, "it ends in its setup header")
        _check_kind(path, head)
        header_end = _JUMP_END + head[_JUMP_OFFSET]
        if not _FIELDS_END <= header_end <= zero_page.HEADER_LIMIT:
            raise MalformedImage(path, f"its setup header would end at {header_end:#x}")
        self.raw = head[zero_page.HEADER_START : header_end]
        self._find_code(path, head, image.size)
        self._find_place(path, head)
        self.command_line_limit = _u32(head, _COMMAND_LINE_SIZE)
        self.initrd_limit = _u32(head, _INITRD_LIMIT) + 1
        if _u16(head, _EXT_LOAD_FLAGS) & _ABOVE_4G:
            self.initrd_limit = 1 << 64

    def _find_code(self, path: str, head: bytes, file_size: int) -> None:
        setup_sectors = head[_SETUP_SECTORS] or _SETUP_SECTORS_DEFAULT
        self.code_start = (1 + setup_sectors) * _SECTOR
        size = _u32(head, _CODE_SIZE) * _PARAGRAPH
        # The size is rounded up. A signature may follow.
        self.code_size = min(size, file_size - self.code_start)
        if not size - _PARAGRAPH < self.code_size or self.code_size <= _ENTRY_64:
            raise MalformedImage(
                path,
                f"its header tells of {size:#x} bytes at {self.code_start:#x}, "
                f"the file has {file_size:#x} in all",
            )
        payload, payload_size = struct.unpack_from("<II", head, _PAYLOAD)
        if payload + payload_size > self.code_size:
            raise MalformedImage(
                path,
                f"its payload of {payload_size:#x} bytes at {payload:#x} ends beyond its code",
            )

    def _find_place(self, path: str, head: bytes) -> None:
        alignment = _u32(head, _ALIGNMENT)
        relocatable = head[_RELOCATABLE]
        (preferred,) = struct.unpack_from("<Q", head, _PREFERRED_ADDRESS)
        init_size = _u32(head, _INIT_SIZE)
        if init_size < self.code_size:
            raise MalformedImage(
                path,
                f"it claims to need {init_size:#x} bytes of RAM for {self.code_size:#x} of code",
            )
        runs_at = preferred or _LOAD_ADDRESS
        if relocatable:
            if alignment & alignment - 1 or not alignment:
                raise MalformedImage(path, f"its alignment {alignment:#x} is no power of two")
            runs_at = -(-runs_at // alignment) * alignment
        self.end = runs_at + init_size
        # One that can't be moved moves itself to where it runs.
        self.address = runs_at if relocatable else _LOAD_ADDRESS
        if runs_at < _LOAD_ADDRESS or self.end > 4 * layout.GIB:
            raise MalformedImage(
                path, f"it would run at {runs_at:#x}-{self.end - 1:#x}, not from 1 MiB to 4 GiB"
            )


def _check_kind(path: str, head: bytes) -> None:
    """Raises NotAGuestImage for x86 kernels without a 64-bit entry."""
    version = _u16(head, _VERSION)
    if _u16(head, _BOOT_FLAG) != _BOOT_FLAG_VALUE:
        raise MalformedImage(path, "its setup header has no boot flag (0xaa55)")
    if not head[_LOAD_FLAGS] & _LOADED_HIGH:
        raise NotAGuestImage(
            path, "a zImage, a Linux kernel that runs below 640 KiB in 16-bit mode", ACCEPTED
        )
    if version < _OLDEST_VERSION:
        raise NotAGuestImage(
            path,
            f"a Linux kernel of boot protocol {version >> 8}.{version & 0xFF:02}, "
            "which has no 64-bit entry",
            "take Linux 3.8 (protocol 2.12) or newer, built for x86-64",
        )
    if not _u16(head, _EXT_LOAD_FLAGS) & _KERNEL_64:
        raise NotAGuestImage(path, "a Linux kernel for 32-bit x86", _AMD64)


def load(image: ImageFile, placement: Placement) -> LinuxKernel:
    """Load a bzImage into guest RAM.

    Raises NotAGuestImage, MalformedImage, DoesNotFit, AddressTaken, UnreadableImage.
    """
    header = SetupHeader(image)
    if header.end > placement.low_ram_end:
        needed = -(-header.end // layout.MIB)
        raise DoesNotFit(
            f"kernel {image.path} needs {needed} MiB of RAM while it unpacks itself, the guest has "
            f"{placement.low_ram_end // layout.MIB} MiB: give it more memory, and some to work with"
        )
    buffer = placement.claim(header.address, header.end - header.address, f"kernel {image.path}")
    long_mode.write_tables(placement, header.end)
    image.read_into(buffer[: header.code_size], header.code_start)
    return LinuxKernel(header)


class LinuxKernel:
    """A bzImage in guest RAM, and what it is to be told."""

    is_linux = True

    __slots__ = ("_header", "command_line_limit", "initrd_limit")

    def __init__(self, header: SetupHeader) -> None:
        self._header = header
        self.command_line_limit = min(header.command_line_limit, COMMAND_LINE_PAGE - 1)
        self.initrd_limit = header.initrd_limit

    def hand_over(
        self,
        memory: GuestMemory,
        *,
        command_line: bytes,
        memory_map: Sequence[MapEntry],
        rsdp: int,
        initrd: tuple[int, int] | None,
    ) -> long_mode.LongModeEntry:
        """Write the zero page; returns how the guest starts. As PvhKernel.hand_over()."""
        parameters = zero_page.write(
            memory,
            self._header.raw,
            load_address=self._header.address,
            seed_address=_SEED,
            command_line=command_line,
            memory_map=memory_map,
            rsdp=rsdp,
            initrd=initrd,
        )
        return long_mode.LongModeEntry(self._header.address + _ENTRY_64, parameters)


def _u16(data: bytes, offset: int) -> int:
    return data[offset] | data[offset + 1] << 8


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")
