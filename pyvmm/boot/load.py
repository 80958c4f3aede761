# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""load(): from image files to a guest that only needs its first vCPU entered."""

from __future__ import annotations

from pyvmm.memory import layout

from . import acpi, elf_pvh, pvh
from .errors import BadCommandLine
from .image import ImageFile
from .memory_map import memory_map
from .placement import COMMAND_LINE_LIMIT, Placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pyvmm.kvm import Vcpu
    from pyvmm.memory import GuestMemory

    class Entry(Protocol):
        """How a loaded guest starts: kind names the protocol, address the first instruction."""

        @property
        def kind(self) -> str: ...

        @property
        def address(self) -> int: ...

        def apply(self, vcpu: Vcpu, /) -> None: ...


def load_kernel(
    memory: GuestMemory,
    path: str,
    *,
    cpus: int,
    mmio64: tuple[int, int],
    last_bus: int,
    intx_gsi: Callable[[int, int], int],
    command_line: str = "",
    initrd: str | None = None,
    done: Callable[[str], None] | None = None,
) -> Entry:
    """Load a kernel, its initrd and command line, and the ACPI tables into guest RAM.

    For mmio64, last_bus and intx_gsi see acpi.build(). done is called with a phase's name when
    that is over. Can be repeated to boot the guest again. Raises BootError.
    """
    done = done or _ignore
    encoded = _encode(command_line)
    placement = Placement(memory)
    with ImageFile(path, "kernel") as image:
        address = elf_pvh.load(image, placement)
    done("kernel")
    modules = None
    if initrd is not None:
        modules = _load_initrd(initrd, placement)
        done("initrd")
    memory.write(layout.ACPI_BASE, acpi.build(cpus, mmio64, last_bus, intx_gsi))
    start_info = pvh.write_start_info(
        memory,
        command_line=encoded,
        memory_map=memory_map(memory.regions),
        rsdp=layout.ACPI_BASE,
        initrd=modules,
    )
    done("boot information")
    return pvh.PvhEntry(address, start_info)


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


def _load_initrd(path: str, placement: Placement) -> tuple[int, int]:
    """Returns its address and size."""
    with ImageFile(path, "initrd") as image:
        address, buffer = placement.claim_top(image.size, f"initrd {path}")
        image.read_into(buffer, 0)
        return address, image.size


def _encode(command_line: str) -> bytes:
    encoded = command_line.encode("utf-8", "surrogateescape") + b"\0"
    if b"\0" in encoded[:-1]:
        raise BadCommandLine("the kernel command line contains a NUL character")
    if len(encoded) > COMMAND_LINE_LIMIT:
        raise BadCommandLine(
            f"the kernel command line has {len(encoded) - 1} bytes, "
            f"a kernel takes {COMMAND_LINE_LIMIT - 1}"
        )
    return encoded


def _ignore(phase: str) -> None:
    """Nobody wants to know."""
