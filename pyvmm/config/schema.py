# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The schema of VM configs, as typed structs: one VmConfig is one VM.

The descriptions are the user's reference: ``pyvmm schema`` and editors show them. In a field's
extra, ``expected`` says in an error what the value should have been, and ``notation`` turns what
people write into what the field holds (see notation.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from pyvmm.debian.names import is_debians

from . import notation
from .cpu import Cpu
from .errors import ConfigInvalid, SlotTaken

_Text = Annotated[str, Meta(min_length=1)]
# Less than a millisecond is over before anything can answer, or run.
_Seconds = Annotated[float, Meta(ge=0.001, le=31_536_000)]


class Memory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The guest's RAM. A plain size stands for a mapping with the key size alone."""

    size: Annotated[
        int,
        Meta(
            ge=1 << 20,
            le=notation.MOST_MEMORY,
            multiple_of=4096,
            description="How much RAM, in bytes or with a unit: 64M, 2G, 512MiB. "
            "At least 1M, at most 64T, a multiple of 4K.",
            extra={
                "expected": "a size such as 64M (at least 1M, a multiple of 4K)",
                "notation": notation.size,
            },
        ),
    ] = 64 << 20
    backing: Annotated[
        Literal["auto", "private", "shared", "thp", "hugetlb-2M", "hugetlb-1G"],
        Meta(
            description="The host pages it is made of. private: transparent huge ones, where the "
            "host has them, which devices in other processes reach by messages alone; shared: "
            "small ones, which they map; thp: shared huge ones, where the host has such; "
            "hugetlb-2M, hugetlb-1G: huge ones that the host's administrator has reserved. auto: "
            "shared if there are such devices, else private.",
            extra={"expected": "one of auto, private, shared, thp, hugetlb-2M and hugetlb-1G"},
        ),
    ] = "auto"
    prealloc: Annotated[
        bool,
        Meta(
            description="true: all of it is there before the guest runs, so that no page has to be "
            "waited for later; all processors see to it. Where the host's devices pin guest RAM "
            "it is so anyway.",
            extra={"expected": "true or false"},
        ),
    ] = False


class Initrd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The guest's initial RAM disk. A plain path stands for a mapping with the key file alone.

    Without a file, one is made of busybox, the modules, and the script.
    """

    file: Annotated[
        _Text | None,
        Meta(
            description="An initial RAM disk that is there already.",
            extra={"expected": "the path of an initial RAM disk", "notation": notation.path},
        ),
    ] = None
    modules: Annotated[
        tuple[_Text, ...],
        Meta(
            description="Kernel modules to load, in this order; what they depend on comes by "
            "itself. They go with a kernel of Debian's. Those that it has built in are no matter.",
            extra={
                "expected": "a list of kernel modules' names",
                "each": "the name of a kernel module",
            },
        ),
    ] = ()
    script: Annotated[
        _Text | None,
        Meta(
            description="A shell script that the guest runs, and ends with: its exit status is "
            "the guest's. Without it there is a shell on the serial line.",
            extra={"expected": "the path of a shell script", "notation": notation.path},
        ),
    ] = None

    def __post_init__(self) -> None:
        for key in ("modules", "script"):
            if self.file is not None and getattr(self, key):
                raise ConfigInvalid(
                    f"{key} is for an initial RAM disk that is made; this one is a file", key=(key,)
                )


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One PCI device: a model of pyvmm's, a device of the host, or one that a server has."""

    model: Annotated[
        _Text | None,
        Meta(
            description="The name of a device model; `pyvmm models` lists them. Or one's own: a "
            "Python file with a class that derives from pyvmm.models.Model, ./mine.py; "
            "./mine.py:Class if there are several.",
            extra={"expected": "the name of a device model", "notation": notation.model},
        ),
    ] = None
    process: Annotated[
        bool,
        Meta(
            description="true: run the model in a process of its own, behind vfio-user. "
            "false: run it inside the VMM.",
            extra={"expected": "true or false"},
        ),
    ] = False
    options: Annotated[
        dict[str, Any],
        Meta(
            description="The model's own options, by name. Text that begins with ./ or ../ is a "
            "path that starts at the config's own folder.",
            extra={
                "expected": "a mapping of the model's options",
                "notation": notation.options,
            },
        ),
    ] = field(default_factory=dict)
    socket: Annotated[
        _Text | None,
        Meta(
            description="The UNIX socket of a running vfio-user server (`pyvmm serve`, SPDK, "
            "libvfio-user, ...) whose device this is.",
            extra={"expected": "the path of a UNIX socket", "notation": notation.path},
        ),
    ] = None
    host: Annotated[
        _Text | None,
        Meta(
            description="The PCI address of a device of this host, given to vfio-pci "
            "(`pyvmm bind`); `pyvmm devices` lists them.",
            extra={
                "expected": "a PCI address such as 0000:01:00.0",
                "notation": notation.address,
            },
        ),
    ] = None
    rom: Annotated[
        _Text | None,
        Meta(
            description="The expansion ROM that the guest finds: the path of a file with one, or "
            "none. Without it, the device's own, if it has one that can be read.",
            extra={"expected": "the path of an expansion ROM, or none", "notation": notation.rom},
        ),
    ] = None
    timeout: Annotated[
        _Seconds,
        Meta(
            description="How many seconds a device in another process has to answer a request, "
            "at least 0.001.",
            extra={"expected": "a number of seconds, at least 0.001 and at most a year"},
        ),
    ] = 5.0
    posted_writes: Annotated[
        bool,
        Meta(
            description="true: the guest's writes to memory BARs of a device in another process "
            "wait for no answer, as on PCI Express; for servers that know the No_reply flag, as "
            "pyvmm's, QEMU's and libvfio-user's do. Where BARs are mapped or have doorbells by "
            "eventfd it changes nothing. false: each is waited for, and its errors are counted.",
            extra={"expected": "true or false"},
        ),
    ] = False
    slot: Annotated[
        Annotated[int, Meta(ge=1 << 3, lt=32 << 3)] | None,
        Meta(
            description="Where the guest finds the device on bus 0: device and function as lspci "
            'writes them, in hexadecimal ("03.0", "0a.0"), or one digit, the device number (3). '
            "Without it, the first free device number.",
            extra={
                "expected": 'a slot from "01.0" to "1f.7", or a device number from 1 to 9',
                "notation": notation.slot,
            },
        ),
    ] = None
    root_port: Annotated[
        bool,
        Meta(
            description="true: the device is behind a PCI Express root port, as if in a slot of "
            "a PC, for drivers that want a link above their device; `slot` is then the port's "
            "place, and the function's number the device's own. false: it is on bus 0, as if it "
            "were a part of the chipset, where a guest finds it soonest.",
            extra={"expected": "true or false"},
        ),
    ] = False

    def __post_init__(self) -> None:
        kinds = ("model", "socket", "host")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise _not_one_of(kinds, given)
        if self.model is None and self.process:
            raise ConfigInvalid(
                f"process is for a model; the device of a {given[0]} has its place already",
                key=("process",),
            )
        if self.posted_writes and self.socket is None and not self.process:
            raise ConfigInvalid(
                "posted_writes is for a device in another process, of a socket or with process",
                key=("posted_writes",),
            )
        if self.model is None and self.options:
            raise ConfigInvalid(
                f"options are for a model; a {given[0]} takes none", key=("options",)
            )


class VmConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VM for `pyvmm run`. Relative paths start at the config's own folder."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="What messages call the VM. Without it, the file's name.",
            extra={"expected": "a name of 1 to 64 characters"},
        ),
    ] = "vm"
    kernel: Annotated[
        _Text | None,
        Meta(
            description="The guest's image: a Linux bzImage (vmlinuz), or an ELF file with a PVH "
            "entry, such as a vmlinux or the test guests. Or debian:6.12 for the kernel of "
            "Debian's that is called so. "
            "Exactly one of kernel and firmware is needed.",
            extra={
                "expected": "the path of a guest image, or debian: and the name of a kernel",
                "notation": notation.kernel,
            },
        ),
    ] = None
    firmware: Annotated[
        _Text | None,
        Meta(
            description="A firmware image, mapped to end at 4 GiB and started at the reset vector.",
            extra={"expected": "the path of a firmware image", "notation": notation.path},
        ),
    ] = None
    initrd: Annotated[
        Initrd | None,
        Meta(
            description="An initial RAM disk for the kernel: a path, or a mapping with modules "
            "and script, of which one is made.",
            extra={
                "expected": "the path of an initial RAM disk, or a mapping with modules and script",
                "notation": notation.initrd,
            },
        ),
    ] = None
    cmdline: Annotated[
        str,
        Meta(description="The kernel's command line.", extra={"expected": "text"}),
    ] = ""
    cmdline_defaults: Annotated[
        bool,
        Meta(
            description="true: a Linux kernel whose command line has no console= is given "
            "console=ttyS0 too, unless serial is none. false: it is given cmdline as it is.",
            extra={"expected": "true or false"},
        ),
    ] = True
    cpus: Annotated[
        int,
        Meta(
            ge=1,
            le=255,
            description="How many vCPUs, 1 to 255.",
            extra={"expected": "a whole number from 1 to 255"},
        ),
    ] = 1
    cpu: Annotated[
        Cpu,
        Meta(
            description="What the vCPUs are like. By default they have all that the host's KVM can "
            "give.",
            extra={
                "expected": "a mapping with features, cpuid and tsc_khz "
                "(how many there are is cpus)"
            },
        ),
    ] = Cpu()
    memory: Annotated[
        Memory,
        Meta(
            description="The guest's RAM: a size, or a mapping with size, backing and prealloc.",
            extra={"expected": "a size such as 64M, or a mapping with size, backing and prealloc"},
        ),
    ] = Memory()
    devices: Annotated[
        tuple[Device, ...],
        Meta(
            description="The guest's PCI devices. Those without a slot take free ones, in order.",
            extra={
                "expected": "a list of devices",
                "each": "a device, a mapping with model, socket or host",
            },
        ),
    ] = ()
    serial: Annotated[
        str,
        Meta(
            min_length=1,
            description="The host's end of the serial line. stdio: the terminal, or whatever stdin "
            "and stdout are; none: nothing; pty: a new pseudo-terminal, whose name is told; "
            "unix:PATH: a UNIX socket that is listened at; else the path of a file that takes the "
            "output.",
            extra={
                "expected": "stdio, none, pty, unix:PATH or the path of a file",
                "notation": notation.serial,
            },
        ),
    ] = "stdio"
    log: Annotated[
        _Text | None,
        Meta(
            description="A file that takes all of the serial output besides.",
            extra={"expected": "the path of a file", "notation": notation.path},
        ),
    ] = None
    monitor: Annotated[
        _Text | None,
        Meta(
            description="A UNIX socket to listen at, as unix:PATH, where the monitor's commands "
            "are answered.",
            extra={"expected": "unix:PATH", "notation": notation.socket},
        ),
    ] = None
    timeout: Annotated[
        _Seconds | None,
        Meta(
            description="End the VM after so many seconds, at least 0.001. "
            "Without it, it runs until it ends.",
            extra={"expected": "a number of seconds, at least 0.001 and at most a year"},
        ),
    ] = None

    on_reset: Annotated[
        Literal["restart", "exit"],
        Meta(
            description="What follows when the guest asks for a reset. restart: it boots again, as "
            "on a PC; exit: the run ends, with an exit status of its own.",
            extra={"expected": "one of restart and exit"},
        ),
    ] = "restart"
    max_resets: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(
            description="How many resets of its own a guest has before the next one ends the run. "
            "Without it, as many as it likes.",
            extra={"expected": "a whole number from 1 to 1000000"},
        ),
    ] = None
    on_triple_fault: Annotated[
        Literal["crash", "reset"],
        Meta(
            description="What a triple fault is. crash: the end of the run, with a report; reset: "
            "a way to ask for a reset, as on a PC (Linux has reboot=triple).",
            extra={"expected": "one of crash and reset"},
        ),
    ] = "crash"

    on_panic: Annotated[
        Literal["exit", "continue"],
        Meta(
            description="What follows when the guest tells its pvpanic device that it has "
            "panicked, which Linux does with CONFIG_PVPANIC. exit: the run ends at once, with an "
            "exit status of its own; continue: it is told, and the guest does what it does.",
            extra={"expected": "one of exit and continue"},
        ),
    ] = "exit"

    def __post_init__(self) -> None:
        if (self.kernel is None) == (self.firmware is None):
            given = ["kernel", "firmware"] if self.kernel is not None else []
            raise _not_one_of(("kernel", "firmware"), given)
        if self.kernel is None:
            for key in ("initrd", "cmdline"):
                if getattr(self, key):
                    raise ConfigInvalid(
                        f"{key} goes with a kernel; this VM boots firmware", key=(key,)
                    )
        elif self.initrd is not None and self.initrd.modules and not is_debians(self.kernel):
            raise ConfigInvalid(
                "the modules are those of a kernel of Debian's, such as debian:6.12, and this "
                "kernel is a file",
                key=("initrd", "modules"),
            )
        for key, other in (("log", "serial"), ("monitor", "serial")):
            if getattr(self, key) is not None and getattr(self, key) == getattr(self, other):
                raise ConfigInvalid(f"expected a path of its own, got {other}'s", key=(key,))
        if self.max_resets is not None and self.on_reset == "exit":
            raise ConfigInvalid(
                "max_resets goes with on_reset: restart; here the first one ends the run",
                key=("max_resets",),
            )
        _check_slots(self.devices)
        _check_hosts(self.devices)


def _not_one_of(keys: tuple[str, ...], given: list[str]) -> ConfigInvalid:
    got = "neither" if len(keys) == 2 else "none"
    if given:
        got = "both" if len(keys) == 2 else " and ".join(given)
    return ConfigInvalid(
        f"expected exactly one of {', '.join(keys[:-1])} and {keys[-1]}, got {got}",
        key=(given[-1],) if given else (),
    )


def _check_hosts(devices: tuple[Device, ...]) -> None:
    """Raises ConfigInvalid for a device of the host that is there twice."""
    taken: dict[str, int] = {}
    for index, device in enumerate(devices):
        if device.host is not None and taken.setdefault(device.host, index) != index:
            raise ConfigInvalid(
                f"expected another device of the host, got {device.host}, which is "
                f"devices[{taken[device.host]}] already",
                key=("devices", index, "host"),
            )


def _check_slots(devices: tuple[Device, ...]) -> None:
    """Raises ConfigInvalid for two devices in one slot, and for functions no guest would find."""
    taken: dict[int, int] = {}
    for index, device in enumerate(devices):
        if device.slot is None:
            continue
        other = taken.setdefault(device.slot, index)
        if other != index:
            raise SlotTaken(
                f"expected a slot of its own, got {notation.slot_text(device.slot)}, "
                f"where devices[{other}] is; choose another one, or leave it out",
                key=("devices", index, "slot"),
            )
    for slot, index in taken.items():
        first = slot & ~7
        if first not in taken:
            raise ConfigInvalid(
                f"expected a device at {notation.slot_text(first)} too: without function 0, "
                f"no guest looks for {notation.slot_text(slot)}",
                key=("devices", index, "slot"),
            )
        ported = devices[taken[first]].root_port
        if devices[index].root_port != ported:
            raise ConfigInvalid(
                f"expected {str(ported).lower()}, as devices[{taken[first]}] has it, which is "
                "function 0 of the same device",
                key=("devices", index, "root_port"),
            )
