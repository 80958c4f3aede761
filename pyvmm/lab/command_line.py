# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab's machine as QEMU's command line: a PC in software with an IOMMU around its devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .defaults import DEFAULT_CPUS, DEFAULT_IOMMU, DEFAULT_MEMORY, DISK_SIZE
from .iommu import Iommu, parse_iommu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOTS = 8
"""Root ports for devices to be plugged into."""
_FIRST_SLOT = 0x10
# GT/s. When the bus behind a faster port was reset the kernel waits for the link to come up, which
# QEMU's doesn't tell, and takes the devices for lost.
_SPEED = "x-speed=5"
# Bus numbers and addresses for what is plugged in, a function with virtual ones too.
_ROOM = "bus-reserve=2,io-reserve=4K,mem-reserve=32M,pref64-reserve=256M"

_LEAST_MEMORY = 256 << 20
_MOST_MEMORY = 512 << 30
"""Bytes; the CPU has 40 address bits, and devices need some of them."""
_MOST_CPUS = 255
"""As many as have APICs of the usual kind."""

# Before 10.0, sporadic crashes of nested guests with it; and an XSAVE of which nested guests
# complain, which this CPU model hasn't.
_WITHOUT_CX16_BEFORE = (10, 0)


@dataclass(frozen=True)
class MachineOptions:
    """What can be chosen about the machine itself, its devices aside."""

    iommu: str = DEFAULT_IOMMU
    """As parse_iommu() takes it."""
    cpus: int = DEFAULT_CPUS
    memory: int = DEFAULT_MEMORY
    bridges: int = 0
    """How many of the slots, the last ones, have a conventional bridge to plug devices into."""

    sata: bool = False
    """Whether the first slot has a SATA controller with a disk."""

    def __post_init__(self) -> None:
        from .errors import LabError

        parse_iommu(self.iommu)
        if not 1 <= self.cpus <= _MOST_CPUS:
            raise LabError(f"a lab with {self.cpus} CPUs can't be", f"take 1 to {_MOST_CPUS}")
        if self.memory < _LEAST_MEMORY:
            raise LabError("the lab's kernel needs 256M of memory or more", "take --memory 1G")
        if self.memory > _MOST_MEMORY:
            raise LabError("the lab's CPU has addresses for 512G of memory", "take less --memory")
        if self.bridges > SLOTS - self.sata:
            raise LabError(f"{self.bridges} bridges are too many", f"the lab has {SLOTS} slots")


class Wiring(NamedTuple):
    """Descriptors that QEMU inherits."""

    monitor: int
    control: int
    log: int


@dataclass(frozen=True)
class Backing:
    """Where the machine's RAM is, where that isn't QEMU's own memory."""

    path: Path
    private: bool
    """What is written stays out of the file."""


def slot_id(slot: int) -> str:
    """The id of a root port, by which devices are plugged into it."""
    return f"slot{slot}"


def bridge_id(slot: int) -> str:
    """The id of the bridge in a slot that has one."""
    return f"bridge{slot}"


SATA_ID = "sata"
"""The id of the SATA controller, whose bus takes no disk later."""
SATA_SLOT = 0
SATA_DISK = "sata-disk"
"""The block node that its disk is on: nothing is behind it until somebody replaces its file."""


def slot_address(slot: int) -> str:
    """Where the lab's kernel has that root port."""
    return f"0000:00:{_FIRST_SLOT + slot:02x}.0"


def machine_arguments(
    options: MachineOptions, version: tuple[int, ...], kernel: Path, initramfs: Path
) -> Iterator[str]:
    """What the machine is: all that its state depends on, its RAM's backing aside."""
    yield from ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
    # On threads of their own, processors have been seen to execute half of what another one had
    # just patched, and to sleep with interrupts held back: Linux and its KVM don't survive that.
    yield from ("-accel", "tcg,thread=single,tb-size=512")
    cpu = "qemu64,+svm,+npt,+rdrand,+pdpe1gb"
    yield from ("-cpu", cpu + (",cx16=off" if version < _WITHOUT_CX16_BEFORE else ""))
    yield from ("-smp", str(options.cpus), "-m", f"{options.memory >> 20}M")
    yield from ("-kernel", str(kernel), "-initrd", str(initramfs))
    iommu = parse_iommu(options.iommu)
    yield from ("-append", " ".join(_kernel_parameters(iommu)))
    if iommu.device:
        yield from ("-device", iommu.device)
    # Everything readable, nothing writable; files of several file systems keep distinct numbers.
    root = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    yield from ("-fsdev", root, "-device", "virtio-9p-pci,fsdev=root,mount_tag=root")
    yield from ("-device", "virtio-serial-pci,id=ports")
    for slot in range(SLOTS):
        port = f"pcie-root-port,id={slot_id(slot)},chassis={slot + 1},slot={slot + 1}"
        yield from ("-device", f"{port},addr={_FIRST_SLOT + slot:#x},{_SPEED},{_ROOM}")
    for slot in range(SLOTS - options.bridges, SLOTS):
        yield from (
            "-device",
            f"pcie-pci-bridge,id={bridge_id(slot)},bus={slot_id(slot)}",
        )
    if options.sata:
        nothing = f"file.driver=null-co,file.size={DISK_SIZE}"
        yield from ("-blockdev", f"driver=raw,node-name={SATA_DISK},{nothing}")
        yield from ("-device", f"ich9-ahci,id={SATA_ID},bus={slot_id(SATA_SLOT)}")
        yield from ("-device", f"ide-hd,bus={SATA_ID}.0,drive={SATA_DISK}")


def _kernel_parameters(iommu: Iommu) -> Iterator[str]:
    yield from ("console=ttyS0", "quiet", "panic=-1", "nokaslr", "mitigations=off")
    # On a busy host, time passes in jumps: that is no reason to panic or to warn.
    yield from ("no_timer_check", "nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1")
    yield iommu.kernel_parameter


def wiring_arguments(wiring: Wiring) -> Iterator[str]:
    """How the machine talks to this process: monitor, agent, the kernel's log."""
    yield from ("-chardev", f"socket,id=monitor,fd={wiring.monitor}")
    yield from ("-mon", "chardev=monitor,mode=control")
    yield from ("-chardev", f"socket,id=control,fd={wiring.control}")
    yield from (
        "-device",
        "virtserialport,bus=ports.0,nr=1,chardev=control,name=control",
    )
    yield from ("-chardev", f"file,id=log,path=/proc/self/fd/{wiring.log}")
    yield from ("-serial", "chardev:log")


def memory_arguments(options: MachineOptions, backing: Backing | None) -> Iterator[str]:
    """Where the RAM is: a file's, for a snapshot, or QEMU's own memory."""
    size = f"{options.memory >> 20}M"
    if backing is None:
        yield from ("-machine", "q35,smm=off,vmport=off")
        return
    share = "off" if backing.private else "on"
    path = str(backing.path).replace(",", ",,")
    yield from (
        "-object",
        f"memory-backend-file,id=ram,size={size},mem-path={path},share={share}",
    )
    yield from ("-machine", "q35,smm=off,vmport=off,memory-backend=ram")
