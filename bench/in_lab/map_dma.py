# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How long a guest's RAM takes to be mapped for a device, and by how many ioctls.

The RAM is a memfd in all contenders, and none of it is there yet: what takes time is to get the
pages, to zero and to pin them, and to enter them into the IOMMU's tables. c/map_times.c is
preloaded into all of them, this process included, and notes each VFIO_IOMMU_MAP_DMA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

from pyvmm.memory import Backing
from pyvmm.vfio.host import HostFunction, IommuGroup
from pyvmm.vfio.kernel import open_space

from .. import vmms
from ..build import program
from ..errors import BenchError
from ..measure import Row, exactly, take_turns
from ..settings import Settings
from ..vmms import PYVMM
from .contenders import QEMU, C, run
from .ram import KINDS, Kind

NOTES = Path("/run/map_times")
"""What c/map_times.c is to write to."""

_SIZE = 256 << 20
_IOVA = 4 << 30
_GIB = 1 << 30


class Contender:
    """One that maps memory, and how many ioctls it took at each of its turns."""

    def __init__(self, turn: Callable[[], float | None]) -> None:
        """turn() returns how many seconds it took, or None if its ioctls are all there is."""
        self._turn = turn
        self.ioctls: list[float] = []

    def __call__(self) -> float:
        """Seconds per GiB."""
        NOTES.unlink(missing_ok=True)
        seconds = self._turn()
        times = noted(NOTES.read_text() if NOTES.exists() else "")
        self.ioctls.append(len(times))
        return (sum(times) if seconds is None else seconds) * _GIB / _SIZE


def noted(text: str) -> list[float]:
    """How many seconds each ioctl took that c/map_times.c has noted. Raises BenchError."""
    times = [int(line.split()[1]) / 1e9 for line in text.splitlines()]
    if not times:
        raise BenchError("nothing was mapped that map_times has seen")
    return times


def rows(settings: Settings, devices: Sequence[str]) -> Iterator[Row]:
    """Two for each kind of memory, mapped for the first of the devices, which vfio-pci has."""
    function = HostFunction(devices[0])
    for kind in KINDS:
        kind.prepare(_SIZE)
        contenders = _contenders(function, kind)
        samples = take_turns(contenders, settings.rounds(15), settings.seconds(20))
        yield Row(f"MAP_DMA of guest RAM, {kind.title}", "s per GiB", samples)
        # The first turn doesn't count.
        ioctls = {name: contender.ioctls[1:] for name, contender in contenders.items()}
        goals = exactly(1, ioctls, PYVMM)
        title = f"MAP_DMA ioctls for {_SIZE >> 20} MiB, {kind.title}"
        yield Row(title, "ioctls", ioctls, goals)


def _contenders(function: HostFunction, kind: Kind) -> dict[str, Contender]:
    group = IommuGroup.of(function).device_path
    in_c = [str(program("map_dma")), group, str(_SIZE), kind.in_c]
    contenders = {
        PYVMM: Contender(lambda: _pyvmm(function.bdf, kind)),
        C: Contender(lambda: _program(in_c)),
    }
    if vmms.has_qemu():
        contenders[QEMU] = Contender(lambda: _program(_qemu(function.bdf, kind), "quit\n"))
    return contenders


def _pyvmm(bdf: str, kind: Kind) -> float:
    """From the call of map() to its return; QEMU and C have their ioctls alone counted."""
    with (
        closing(Backing("ram", _SIZE, kind.backing)) as ram,
        open_space("type1v2") as space,
        space.open_device(bdf),
    ):
        start = perf_counter()
        space.map(_IOVA, _SIZE, address=ram.address, fd=ram.fd)
        return perf_counter() - start


def _qemu(bdf: str, kind: Kind) -> list[str]:
    """QEMU with the device from the start; its CPUs are never started."""
    return [
        *(vmms.QEMU, "-M", "q35,memory-backend=ram", "-accel", "kvm", "-cpu", "qemu64"),
        *("-m", f"{_SIZE >> 20}M", "-object", f"{kind.in_qemu},id=ram,size={_SIZE}"),
        *("-nodefaults", "-display", "none"),
        *("-device", f"vfio-pci,host={bdf},rombar=0", "-S", "-monitor", "stdio"),
    ]


def _program(command: Sequence[str], stdin: str = "") -> None:
    run(command, stdin)
