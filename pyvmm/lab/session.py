# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Lab: a software machine around the host's files, with devices for VFIO, to run commands in.

with Lab(devices="nvme,edu") as lab:
    status = lab.run(["python3", "examples/lspci.py"])
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from pyvmm.uapi.ioctl import failure

from .assets import prepare
from .command_line import MachineOptions
from .defaults import DEFAULT_CPUS, DEFAULT_IOMMU, DEFAULT_KERNEL, DEFAULT_MEMORY
from .devices import Bridge, Needs, each, parse
from .errors import LabError, SnapshotFailed
from .host import check_memory
from .job import Job, script
from .machine import FOR_DEVICES, QemuMachine
from .plugging import Slots
from .requirements import check_kernel
from .snapshot import Snapshots, can_be_saved
from .streams import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .assets import Assets
    from .plugging import Plugged

    Stream = int | IO[bytes] | IO[str] | None

# What tells of the host's desktop, login and services, none of which are in the lab.
_NOT_TAKEN_ALONG = (
    "DISPLAY",
    "WAYLAND_",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION",
    "DBUS_",
    "SSH_",
)

_KILLED_FOR_MEMORY = re.compile(r"Out of memory[^:\n]*: Killed process \d+ \(.*\)(?=,? )", re.I)


class _Parts(NamedTuple):
    """What there is of a lab that runs."""

    machine: QemuMachine
    slots: Slots
    features: frozenset[str]
    """The kernel's, as Assets has them."""


class Lab:
    """A context manager. Commands run one at a time; all else goes from any thread."""

    def __init__(
        self,
        devices: str = "",
        *,
        kernel: str = DEFAULT_KERNEL,
        iommu: str = DEFAULT_IOMMU,
        cpus: int = DEFAULT_CPUS,
        memory: int = DEFAULT_MEMORY,
        qemu: str | None = None,
        cold: bool = False,
        progress: Callable[[str], None] = lambda _: None,
        done: Callable[[str], None] = lambda _: None,
    ) -> None:
        """devices as devices.parse() takes them; memory in bytes; kernel and qemu as prepare()
        does. A cold lab boots, others begin with the snapshot of one that has booted. progress is
        told what takes its time, done what phase of the start is over. Raises LabError.
        """
        self._devices = devices
        self._items = parse(devices)
        bridges = sum(isinstance(item, Bridge) for item in self._items)
        sata = any(spec.model.needs is Needs.SATA_DISK for spec in each(self._items))
        self._options = MachineOptions(iommu, cpus, memory, bridges, sata)
        self._kernel = kernel
        self._qemu = qemu
        self._cold = cold
        self._progress = progress
        self._done = done
        self._stack = ExitStack()
        self._parts: _Parts | None = None
        self._numbers = itertools.count(1)
        self._running = threading.Lock()
        self._job: Job | None = None
        self._last_job: Job | None = None

    def __enter__(self) -> Lab:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the machine; nothing of it stays. Can be called again, and from any thread: a command
        that runs raises LabEnded then.
        """
        self._parts = None
        self._stack.close()
        # Whose command runs abandons it when that is over.
        if self._running.acquire(blocking=False):
            self._running.release()
            self._abandon_last_job()

    def _abandon_last_job(self) -> None:
        job, self._last_job = self._last_job, None
        if job is not None:
            job.abandon()

    @property
    def _live(self) -> _Parts:
        if self._parts is None:
            raise LabError("the lab doesn't run", "use it within `with Lab(...) as lab:`")
        return self._parts

    @property
    def log(self) -> str:
        """The last part of the lab's kernel's log. Raises LabError if the lab doesn't run."""
        return self._live.machine.log

    @property
    def killed_for_memory(self) -> str:
        """The last process that the lab's kernel has killed for want of memory, in its words; ""
        if there is none. Raises LabError as log does.
        """
        return next(reversed(_KILLED_FOR_MEMORY.findall(self.log)), "")

    @property
    def devices(self) -> tuple[tuple[str, str], ...]:
        """(kind, address) of each device, as it is in the lab. Raises LabError as log does."""
        return tuple(
            (spec.kind, address)
            for plugged in self.plugged
            for spec, address in zip(each([plugged.item]), plugged.addresses, strict=True)
        )

    @property
    def plugged(self) -> tuple[Plugged, ...]:
        """What is in the root ports. Raises LabError as log does."""
        return tuple(self._live.slots.plugged)

    def plug(self, device: str) -> Plugged:
        """Plug a device into a free root port, and give it to vfio-pci. Raises LabError."""
        items = parse(device)
        if len(items) != 1:
            raise LabError(f"plugging in {device!r}: one at a time")
        machine, slots, features = self._live
        check_kernel(items, self._options.iommu, features)
        with machine.explained():
            plugged = slots.insert(items[0])
            slots.bind(plugged)
        return plugged

    def unplug(self, plugged: Plugged, *, timeout: float = 60) -> None:
        """Ask for it back, as somebody does who presses a slot's button, and wait for it.

        Raises LabSilent if whoever uses it doesn't let go of it.
        """
        machine, slots, _ = self._live
        with machine.explained():
            slots.remove(plugged, timeout)

    def inject(self, plugged: Plugged, error: str) -> None:
        """Have a device report an error of PCI Express (AER) by QEMU's name, as "POISON_TLP".

        Few models of QEMU's report any: virtio's do, with aer=on, while SERR# is enabled in the
        command register. Raises LabError.
        """
        machine = self._live.machine
        command = f"pcie_aer_inject_error {plugged.ids[0]} {error}"
        with machine.explained():
            said = machine.qmp.execute("human-monitor-command", {"command-line": command})
            if not said.startswith("OK"):
                raise LabError(f"injecting {error} into {plugged.item}: {said.strip()}")

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> int:
        """Run a command as root; returns its status, 128 + N if signal N ended it.

        It is in this process's folder and environment if nothing else is said. Streams as
        subprocess has them: descriptors, files, DEVNULL, None for this process's. The program is
        the host's, by PATH. Raises LabError if it can't be given that or its output can't be
        written, LabTimeout after so many seconds, LabEnded, LabSilent.
        """
        streams = (
            _descriptor(stdin, 0),
            _descriptor(stdout, 1),
            _descriptor(stderr, 2),
        )
        with self._new_job() as job:
            job.start(self._script(argv, cwd, env), *streams)
            return job.wait(timeout)

    def run_on_terminal(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        size: tuple[int, int] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
    ) -> int:
        """As run(), with a terminal of (rows, columns) for all three streams.

        The terminal at this end, if there is one, is to be in raw mode (terminal.py).
        """
        with self._new_job() as job:
            text = self._script(argv, cwd, env)
            job.start_on_terminal(text, _descriptor(stdin, 0), _descriptor(stdout, 1))
            if size is not None:
                job.resize(*size)
            return job.wait(timeout)

    def signal(self, number: int) -> None:
        """Send a signal to the command that runs, if there is one."""
        job = self._job
        if job is not None:
            job.signal(number)

    def stop(self, number: int) -> None:
        """Send it a signal that is to end it. At the third one, and some seconds after SIGTERM,
        run() raises LabStopped; the command may go on then until the lab is closed.
        """
        job = self._job
        if job is not None:
            job.stop(number)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal of the command that runs."""
        job = self._job
        if job is not None:
            job.resize(rows, columns)

    def _start(self) -> None:
        check_memory(self._options.memory)
        assets = prepare(
            self._kernel,
            devices=self._devices,
            iommu=self._options.iommu,
            qemu=self._qemu,
            progress=self._progress,
        )
        self._done("parts found")
        late = can_be_saved(self._options)
        machine = None if self._cold or not late else self._begun(assets)
        fresh = machine is None
        if machine is None:
            machine = QemuMachine(assets, self._options, waits=FOR_DEVICES)
        self._stack.enter_context(machine)
        slots = Slots(machine.qmp, machine.agent, self._options.bridges, sata=self._options.sata)
        self._parts = _Parts(machine, slots, assets.features)
        with machine.explained():
            inserted = [] if late else self._insert(slots)
            if fresh:
                machine.qmp.execute("cont")
                machine.agent.ready()
            self._done("booted" if fresh else "snapshot restored")
            inserted += self._insert(slots) if late else []
            machine.agent.start(assets.modules)
            for plugged in inserted:
                slots.bind(plugged)
        self._done("devices plugged in" if inserted else "set up")

    def _begun(self, assets: Assets) -> QemuMachine | None:
        """A machine that begins with a snapshot, if that is to be had."""
        try:
            return Snapshots().start(assets, self._options, self._progress)
        except SnapshotFailed as error:
            self._progress(f"{error}; booting instead")
            return None

    def _insert(self, slots: Slots) -> list[Plugged]:
        return [slots.insert(item) for item in self._items]

    @contextmanager
    def _new_job(self) -> Iterator[Job]:
        if not self._running.acquire(blocking=False):
            raise LabError("the lab runs a command already", "wait for its end")
        try:
            machine, name = self._live.machine, f"job{next(self._numbers)}"
            with machine.explained():
                # Not at a job's end: nothing need be taken away from a lab that ends too.
                if self._last_job is not None:
                    self._last_job.close()
                self._job = self._last_job = Job(name, machine.qmp, machine.agent)
                yield self._job
        finally:
            self._job = None
            self._running.release()
            if self._parts is None:
                self._abandon_last_job()

    def _script(self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None) -> bytes:
        variables = dict(os.environ if env is None else env)
        for name in [name for name in variables if name.startswith(_NOT_TAKEN_ALONG)]:
            del variables[name]
        variables["PYVMM_LAB"] = self._kernel
        variables["PYVMM_LAB_DEVICES"] = ",".join(f"{kind}={at}" for kind, at in self.devices)
        return script(argv, _current_folder() if cwd is None else cwd, variables)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        doing = "telling the lab this process's folder"
        cure = "it was removed: go to another one"
        raise LabError(failure(doing, "getcwd", error.errno or 0), cure) from None


def _descriptor(stream: Stream, inherited: int) -> int:
    if stream == subprocess.DEVNULL:
        return NOWHERE
    if stream is None:
        descriptor = inherited
    elif isinstance(stream, int):
        descriptor = stream
    else:
        stream.flush()
        descriptor = stream.fileno()
    try:
        os.fstat(descriptor)
    except OSError as error:
        doing = f"giving descriptor {descriptor} to the lab's command"
        cure = "open it, or take subprocess.DEVNULL"
        raise LabError(failure(doing, "fstat", error.errno or 0), cure) from None
    return descriptor
