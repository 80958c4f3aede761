# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What DMA of a device in another process moves: by messages, and in memory that is shared.

The device times itself, so that what starts it and tells of its end is not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from pyvmm.memory import SHARED, Backing
from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
)
from pyvmm.vfio import Device, EventFd, Fds

from ..build import program
from ..errors import BenchError
from ..in_lab.contenders import run
from ..measure import Row, take_turns
from ..settings import Settings
from ..vmms import PATIENCE, PYVMM
from .mover import READ, WRITE, Mover
from .serving import served

MEMCPY = "memcpy"

_SERVER = (sys.executable, "-m", "bench.user.mover")
_SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20}
_COMMANDS = {"read": READ, "write": WRITE}
_MOVED = 32 << 20
"""Bytes in a turn"""
_SHARED_IOVA, _PRIVATE_IOVA = 1 << 30, 2 << 30


def rows(settings: Settings) -> Iterator[Row]:
    with served(_SERVER) as device, _memory(device), EventFd() as done:
        _set_up(device, done)
        for way, iova in (("shared memory", _SHARED_IOVA), ("messages", _PRIVATE_IOVA)):
            for direction, command in _COMMANDS.items():
                for title, size in _SIZES.items():
                    contenders = {
                        PYVMM: _moving(device, done, command, iova, size),
                        MEMCPY: _copying(size),
                    }
                    samples = take_turns(contenders, settings.rounds(15), settings.seconds(8))
                    yield Row(f"vfio-user: DMA {direction} of {title} by {way}", "GiB/s", samples)


@contextmanager
def _memory(device: Device) -> Iterator[None]:
    """The same memory at two IOVAs, as one that the server maps and as one that it doesn't get."""
    size = max(_SIZES.values())
    with closing(Backing("memory for DMA", size, SHARED)) as memory, ExitStack() as stack:
        for iova, fd in ((_SHARED_IOVA, memory.fd), (_PRIVATE_IOVA, -1)):
            device.dma.map(iova, size, address=memory.address, fd=fd)
            stack.callback(device.dma.unmap, iova, size)
        yield


def _set_up(device: Device, done: EventFd) -> None:
    """Have an eventfd signalled by its MSI, and let it do DMA."""
    fds = Fds([done.fileno()])
    device.set_irqs(VFIO_PCI_MSI_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, fds)
    master = PCI_COMMAND_MASTER.to_bytes(2, "little")
    device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, master)


def _moving(
    device: Device, done: EventFd, command: int, iova: int, size: int
) -> Callable[[], float]:
    count = _MOVED // size

    def measure() -> float:
        for register, value in (
            (Mover.ADDRESS, iova),
            (Mover.SIZE, size),
            (Mover.COUNT, count),
            (Mover.COMMAND, command),
        ):
            data = value.to_bytes(register.width, "little")
            device.region_write(VFIO_PCI_BAR0_REGION_INDEX, register.offset, data)
        if not done.wait(PATIENCE):
            raise BenchError(f"{count} transfers of {size} bytes don't end")
        done.read()
        took = Mover.TOOK
        data = device.region_read(VFIO_PCI_BAR0_REGION_INDEX, took.offset, took.width)
        return _gib_per_second(int.from_bytes(data, "little"))

    return measure


def _copying(size: int) -> Callable[[], float]:
    command = [str(program("copy")), str(size), str(_MOVED // size)]
    return lambda: _gib_per_second(int(run(command)))


def _gib_per_second(nanoseconds: int) -> float:
    if not nanoseconds:
        raise BenchError("no DMA was done")
    return _MOVED / 2**30 / (nanoseconds / 1e9)
