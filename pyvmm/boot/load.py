# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""load(): from image files to a guest that only needs its first vCPU entered."""

from __future__ import annotations

from contextlib import nullcontext

from pyvmm.memory import layout

from . import detect
from .command_line import encode, for_linux
from .errors import NotAGuestImage
from .image import ImageFile
from .memory_map import memory_map
from .placement import Placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    from pyvmm.kvm import Vcpu
    from pyvmm.memory import GuestMemory

    from .memory_map import MapEntry

    class Entry(Protocol):
        """How a loaded guest starts: kind names the protocol, address the first instruction."""

        @property
        def is_linux(self) -> bool:
            """It says that it is Linux."""

        @property
        def kind(self) -> str: ...

        @property
        def address(self) -> int: ...

        def apply(self, vcpu: Vcpu, /) -> None: ...

    class Kernel(Protocol):
        """A kernel in guest RAM, which is not told of its surroundings yet.

        command_line_limit is in bytes, without the NUL; initrd_limit is the address at which the
        initrd has to end at the latest.
        """

        @property
        def is_linux(self) -> bool: ...

        @property
        def command_line_limit(self) -> int: ...

        @property
        def initrd_limit(self) -> int: ...

        def hand_over(
            self,
            memory: GuestMemory,
            /,
            *,
            command_line: bytes,
            memory_map: Sequence[MapEntry],
            rsdp: int,
            initrd: tuple[int, int] | None,
        ) -> Entry: ...


# What is left of a firmware: Linux with reboot=bios, or efi, goes to the reset vector in the end.
# It writes 6, a hard reset, to the reset control register: mov dx, 0xcf9; mov al, 6; out dx, al;
# and hlt for ever.
_RESET = b"\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd"


def load_kernel(
    memory: GuestMemory,
    path: str | ImageFile,
    *,
    cpus: int,
    mmio64: tuple[int, int],
    last_bus: int,
    intx_gsi: Callable[[int, int], int],
    command_line: str = "",
    console: str = "",
    initrd: str | ImageFile | None = None,
    done: Callable[[str], None] | None = None,
) -> Entry:
    """Load a kernel, its initrd and command line, and the ACPI tables into guest RAM.

    Images are paths, or files that the caller has open and that stay so.
    For mmio64, last_bus and intx_gsi see acpi.build(). console is what Linux is told to take for
    its console, if command_line doesn't say; "" is nothing. done is called with a phase's name
    when that is over. Can be repeated to boot the guest again. Raises BootError.
    """
    done = done or _ignore
    placement = Placement(memory)
    with _opened(path, "kernel") as image:
        kernel = _load_image(image, placement)
    if kernel.is_linux:
        command_line = for_linux(command_line, console)
    encoded = encode(command_line, kernel.command_line_limit)
    done("kernel")
    module = None
    if initrd is not None:
        module = _load_initrd(initrd, placement, kernel.initrd_limit)
        done("initrd")
    from . import acpi  # firmware brings its own

    memory.write(layout.ACPI_BASE, acpi.build(cpus, mmio64, last_bus, intx_gsi))
    memory.write(layout.RESET_VECTOR, _RESET)
    entry = kernel.hand_over(
        memory,
        command_line=encoded,
        memory_map=memory_map(memory.regions),
        rsdp=layout.ACPI_BASE,
        initrd=module,
    )
    done("boot information")
    return entry


def load_firmware(
    memory: GuestMemory, path: str, *, done: Callable[[str], None] | None = None
) -> Entry:
    """Load a flat firmware image, which then is all that the guest starts with.

    done and repetition are as for load_kernel(). Raises BootError, and GuestMemoryError where
    the ROM can't be added.
    """
    from . import firmware

    firmware.load(memory, path)
    (done or _ignore)("firmware")
    return firmware.ResetVector()


def _load_image(image: ImageFile, placement: Placement) -> Kernel:
    head = image.read(0, detect.HEAD_SIZE)
    if detect.is_elf(head):
        from . import elf_pvh

        return elf_pvh.load(image, placement)
    if detect.is_bzimage(head):
        from . import bzimage

        return bzimage.load(image, placement)
    raise NotAGuestImage(image.path, *detect.describe(head))


def _opened(image: str | ImageFile, role: str) -> AbstractContextManager[ImageFile]:
    return nullcontext(image) if isinstance(image, ImageFile) else ImageFile(image, role)


def _load_initrd(initrd: str | ImageFile, placement: Placement, limit: int) -> tuple[int, int]:
    """Returns its address and size."""
    with _opened(initrd, "initrd") as image:
        address, buffer = placement.claim_top(image.size, limit, f"initrd {image.path}")
        image.read_into(buffer, 0)
        return address, image.size


def _ignore(phase: str) -> None:
    """Nobody wants to know."""
