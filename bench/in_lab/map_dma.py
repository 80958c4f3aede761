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
from typing import NamedTuple

from pyvmm.memory import THP, Backing
from pyvmm.memory.backing import HUGETLB_2M, SHARED
from pyvmm.vfio.host import HostFunction, IommuGroup
from pyvmm.vfio.kernel import open_space

from .. import vmms
from ..build import program
from ..errors import BenchError
from ..measure import Row, exactly, take_turns
from ..settings import Settings
from ..vmms import PYVMM
from .contenders import QEMU, C, run

NOTES = Path("/run/map_times")
"""What c/map_times.c is to write to."""

_SIZE = 256 << 20
_IOVA = 4 << 30
_GIB = 1 << 30
_MM = Path("/sys/kernel/mm")


class Kind(NamedTuple):
    """A kind of memory, as everybody calls it."""

    title: str
    backing: str
    in_c: str
    in_qemu: str
    """Its -object."""
    thp: str
    """The kernel's policy about transparent huge pages in shared memory."""
    hugetlb: int
    """How many pages of 2 MiB it is to keep."""


_MEMFD = f"memory-backend-memfd,size={_SIZE}"
KINDS = (
    Kind("pages of 4 KiB", SHARED, "small", _MEMFD, "never", 0),
    # QEMU doesn't align a memfd for them, and makes use of them in private memory alone.
    Kind("transparent huge pages", THP, "thp", f"memory-backend-ram,size={_SIZE}", "advise", 0),
    Kind("hugetlb", HUGETLB_2M, "hugetlb", f"{_MEMFD},hugetlb=on", "never", _SIZE >> 21),
)


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
        _prepare_kernel(kind)
        contenders = _contenders(function, kind)
        samples = take_turns(contenders, settings.rounds(15), settings.seconds(20))
        yield Row(f"MAP_DMA of guest RAM, {kind.title}", "s per GiB", samples)
        # The first turn doesn't count.
        ioctls = {name: contender.ioctls[1:] for name, contender in contenders.items()}
        goals = exactly(1, ioctls, PYVMM)
        title = f"MAP_DMA ioctls for {_SIZE >> 20} MiB, {kind.title}"
        yield Row(title, "ioctls", ioctls, goals)


def _prepare_kernel(kind: Kind) -> None:
    (_MM / "transparent_hugepage/shmem_enabled").write_text(kind.thp)
    pool = _MM / "hugepages/hugepages-2048kB/nr_hugepages"
    pool.write_text(str(kind.hugetlb))
    if int(pool.read_text()) < kind.hugetlb:
        raise BenchError(f"the lab has no {kind.hugetlb} huge pages: its memory is too small")


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
    ram = f"{kind.in_qemu},id=ram"
    return [
        *(vmms.QEMU, "-M", "q35,memory-backend=ram", "-accel", "kvm", "-cpu", "qemu64"),
        *("-m", f"{_SIZE >> 20}M", "-object", ram, "-nodefaults", "-display", "none"),
        *("-device", f"vfio-pci,host={bdf},rombar=0", "-S", "-monitor", "stdio"),
    ]


def _program(command: Sequence[str], stdin: str = "") -> None:
    run(command, stdin)
