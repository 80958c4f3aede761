# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Snapshots: labs that have booted, kept in the cache, from which others begin at once.

    snapshots/KEY/ram      the machine's RAM, which a lab maps privately: nothing is read or copied
    snapshots/KEY/state    the rest of the machine's state
    snapshots/KEY.lock     held shared while a lab begins with it, exclusively while it is made
    snapshots/KEY.new/     one that is being made; rubbish if the lock isn't held

The key is made of all that a saved state depends on, and of this boot of the host: what a crash
has kept from the disk is never used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.debian.cache import cache_folder
from pyvmm.uapi.ioctl import failure

from .command_line import Backing, machine_arguments, memory_arguments
from .errors import LabEnded, LabError, LabSilent, QemuRefused, SnapshotFailed
from .iommu import parse_iommu
from .machine import FOR_STATE, QemuMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .assets import Assets
    from .command_line import MachineOptions

_FORMAT = 1
_SAVE_PATIENCE = 120.0
_KEPT = 16
_LEAST_ROOM = 16 << 20  # bytes
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# RAM in a shared file is no part of the stream, on either side.
_CAPABILITIES = {"x-ignore-shared": True, "events": True}
_ENDS = ("completed", "failed")


def can_be_saved(options: MachineOptions) -> bool:
    """Whether others can begin with such a machine: all their devices come later.

    QEMU doesn't take back the state of a SATA controller with a disk.
    """
    return not (options.sata or parse_iommu(options.iommu).knows_its_devices)


class Snapshots:
    """Those in a folder; several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(cache_folder("lab"), "snapshots")

    def start(
        self, assets: Assets, options: MachineOptions, progress: Callable[[str], None]
    ) -> QemuMachine:
        """A machine that has begun with the snapshot, which is made if there is none.

        Raises SnapshotFailed; a snapshot that was of no use is gone then. One that this process
        can't begin with for want of something else stays for others. Raises QemuRefused for a
        machine that can't be, whatever it begins with.
        """
        key = key_of(assets, options)
        try:
            with self._opened(key, assets, options, progress) as place:
                os.utime(place)
                try:
                    return _restore(assets, options, place)
                except SnapshotFailed:
                    shutil.rmtree(place, ignore_errors=True)
                    raise
        except LabError as error:
            if isinstance(error, QemuRefused) and str(self._folder) not in error.cause:
                raise
            raise SnapshotFailed(error.cause, details=error.details) from None
        except OSError as error:
            where = f"keeping a snapshot in {error.filename or self._folder}"
            raise SnapshotFailed(failure(where, "file access", error.errno or 0)) from None

    @contextmanager
    def _opened(
        self,
        key: str,
        assets: Assets,
        options: MachineOptions,
        progress: Callable[[str], None],
    ) -> Iterator[Path]:
        """The snapshot's folder, which stays while the block runs."""
        place = self._folder / key
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            with _locked(place, fcntl.LOCK_SH, progress):
                if _is_whole(place, options):
                    yield place
                    return
            with _locked(place, fcntl.LOCK_EX, progress):
                if not _is_whole(place, options):
                    shutil.rmtree(place, ignore_errors=True)
                    progress("booting the lab, and keeping a snapshot for the next time")
                    self._make(place, assets, options)

    def _make(self, place: Path, assets: Assets, options: MachineOptions) -> None:
        self._sweep()
        new = place.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        try:
            _save(assets, options, new)
            new.rename(place)
        except LabEnded:
            # QEMU dies of SIGBUS where a page of its RAM finds no room in the file.
            if shutil.disk_usage(new).free < _LEAST_ROOM:
                raise SnapshotFailed(f"{self._folder} has no room for a snapshot") from None
            raise
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what the host's last boot has left, and all but those used of late."""
        boot = _boot_id()
        places = [place for place in self._folder.iterdir() if place.is_dir()]
        places.sort(key=lambda place: place.stat().st_mtime, reverse=True)
        recent = [place for place in places if place.name.startswith(boot)][: _KEPT - 1]
        # Locks alone are left of those that were of no use.
        locks = [lock.with_suffix("") for lock in self._folder.glob("*.lock")]
        for place in {*places, *locks} - set(recent):
            self._remove(place)

    def _remove(self, place: Path) -> None:
        """Remove a snapshot, or what was to be one, unless somebody is at it."""
        with suppress(BlockingIOError), _locked(place, fcntl.LOCK_EX):
            shutil.rmtree(place, ignore_errors=True)
            _lock_path(place).unlink(missing_ok=True)


def _is_whole(place: Path, options: MachineOptions) -> bool:
    try:
        ram, state = (place / "ram").stat().st_size, (place / "state").stat().st_size
    except OSError:
        return False
    return ram == options.memory >> 20 << 20 and state > 0


def _lock_path(place: Path) -> Path:
    return place.with_suffix(".lock")


@contextmanager
def _locked(
    place: Path, mode: int, progress: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a snapshot's lock. Without progress, to be told of it, nobody waits: BlockingIOError."""
    path = _lock_path(place)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(lock, mode, progress)
            # Whoever removed the snapshot meanwhile has removed the file too.
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                yield
                return
        finally:
            os.close(lock)


def _flock(lock: int, mode: int, progress: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        if progress is None:
            raise
        progress("waiting for another process that boots the same lab")
        fcntl.flock(lock, mode)


def key_of(assets: Assets, options: MachineOptions) -> str:
    """Names all that a machine's saved state depends on; begins with the host's boot."""
    arguments = machine_arguments(options, assets.qemu.version, assets.vmlinux, assets.initramfs)
    memory = memory_arguments(options, Backing(Path("ram"), private=True))
    files = [part for part in assets.qemu.command if os.path.isfile(part)]
    identities = [_identity(path) for path in (*files, str(assets.vmlinux), str(assets.initramfs))]
    parts = (_FORMAT, assets.qemu, *arguments, *memory, identities)
    return f"{_boot_id()}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"


def _identity(path: str) -> tuple[str, int, int, int]:
    status = os.stat(path)
    return os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns


def _boot_id() -> str:
    return _BOOT_ID.read_text().replace("-", "")[:12]


def _save(assets: Assets, options: MachineOptions, folder: Path) -> None:
    """Boot a machine and leave its RAM and state in folder."""
    with QemuMachine(assets, options, Backing(folder / "ram", private=False)) as machine:
        with machine.explained():
            machine.agent.ready()
        qmp = machine.qmp
        qmp.execute("stop")
        _set_capabilities(machine)
        path = shlex.quote(str(folder / "state"))
        qmp.execute("migrate", {"uri": f"exec:cat > {path}"})
        if _migrated(machine) != "completed":
            why = qmp.execute("query-migrate").get("error-desc", "no reason given")
            raise SnapshotFailed(f"saving the lab: QEMU: {why}")
        # It has closed the file, and waited for what writes it, when it is gone.
        machine.quit()


def _restore(assets: Assets, options: MachineOptions, folder: Path) -> QemuMachine:
    """A machine as the one that was saved. Raises SnapshotFailed if that is the snapshot's fault,
    and LabError.
    """
    machine = QemuMachine(assets, options, Backing(folder / "ram", private=True), waits=FOR_STATE)
    try:
        with machine.explained():
            _set_capabilities(machine)
            path = shlex.quote(str(folder / "state"))
            machine.qmp.execute("migrate-incoming", {"uri": f"exec:cat {path}"})
            if _migrated(machine) != "completed":
                raise SnapshotFailed(f"QEMU doesn't take the state in {folder}")
            machine.qmp.execute("cont")
    except (LabEnded, LabSilent) as error:
        # A QEMU that has begun to take a state ends if it can't be taken.
        machine.close()
        raise SnapshotFailed(error.cause, details=error.details) from None
    except BaseException:
        machine.close()
        raise
    return machine


def _migrated(machine: QemuMachine) -> str:
    """Wait for the end of a migration, one of _ENDS."""
    event = machine.qmp.event(
        "MIGRATION", lambda data: data.get("status") in _ENDS, seconds=_SAVE_PATIENCE
    )
    return str(event["status"])


def _set_capabilities(machine: QemuMachine) -> None:
    wishes = [{"capability": name, "state": state} for name, state in _CAPABILITIES.items()]
    machine.qmp.execute("migrate-set-capabilities", {"capabilities": wishes})
