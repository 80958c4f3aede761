# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The store of snapshots: whole or not there, made once, swept; and what their names depend on.

What QEMU does in it is made up: tests/interop has the real thing.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyvmm.lab import snapshot
from pyvmm.lab.assets import Assets
from pyvmm.lab.command_line import MachineOptions
from pyvmm.lab.emulator import Emulator
from pyvmm.lab.errors import LabEnded, LabError, QemuRefused, SnapshotFailed
from pyvmm.lab.snapshot import Snapshots, can_be_saved, key_of

OPTIONS = MachineOptions()


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    files = [tmp_path / name for name in ("qemu", "vmlinux", "initramfs", "busybox")]
    for file in files:
        file.write_text(file.name)
    qemu, vmlinux, initramfs, busybox = files
    emulator = Emulator((str(qemu),), {}, (10, 0, 0), unpacked=False)
    return Assets(emulator, vmlinux, initramfs, "6.12", tmp_path, busybox, frozenset())


class MadeUp:
    """In place of what saves and restores."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.saved = 0
        self.restored: list[str] = []
        self.fails_to_save = self.fails_to_restore = self.has_no_means = False
        monkeypatch.setattr(snapshot, "_save", self._save)
        monkeypatch.setattr(snapshot, "_restore", self._restore)

    def _save(self, _assets: Assets, options: MachineOptions, folder: Path) -> None:
        self.saved += 1
        (folder / "ram").touch()
        os.truncate(folder / "ram", options.memory)
        (folder / "state").write_text("state")
        if self.fails_to_save:
            raise LabEnded("it ended")

    def _restore(self, _assets: Assets, _options: MachineOptions, folder: Path) -> object:
        assert (folder / "ram").exists()
        self.restored.append(folder.name)
        if self.fails_to_restore:
            raise SnapshotFailed("it ended", details="its last words")
        if self.has_no_means:
            raise LabError("starting QEMU: EMFILE")
        return SimpleNamespace()


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    return MadeUp(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "snapshots"


def start(folder: Path, assets: Assets, options: MachineOptions = OPTIONS) -> list[str]:
    told: list[str] = []
    Snapshots(folder).start(assets, options, told.append)
    return told


def snapshots(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir() if place.is_dir())


def test_it_is_made_once(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    assert start(folder, assets) == ["booting the lab, and keeping a snapshot for the next time"]
    assert start(folder, assets) == []
    assert made_up.saved == 1
    assert made_up.restored == [key_of(assets, OPTIONS)] * 2


def test_one_that_can_not_be_made_leaves_nothing(
    folder: Path, assets: Assets, made_up: MadeUp
) -> None:
    made_up.fails_to_save = True
    with pytest.raises(SnapshotFailed, match="it ended"):
        start(folder, assets)
    assert snapshots(folder) == []


def test_a_full_disk_is_told(
    folder: Path, assets: Assets, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up.fails_to_save = True
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(SnapshotFailed, match="has no room for a snapshot"):
        start(folder, assets)
    assert snapshots(folder) == []


def test_one_that_is_of_no_use_goes(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    made_up.fails_to_restore = True
    with pytest.raises(SnapshotFailed) as failed:
        start(folder, assets)
    assert failed.value.details == "its last words"
    assert snapshots(folder) == []
    made_up.fails_to_restore = False
    start(folder, assets)
    assert made_up.saved == 2


def test_one_that_somebody_has_not_the_means_to_use_stays(
    folder: Path, assets: Assets, made_up: MadeUp
) -> None:
    made_up.has_no_means = True
    with pytest.raises(SnapshotFailed, match="EMFILE"):
        start(folder, assets)
    assert snapshots(folder) == [key_of(assets, OPTIONS)]
    made_up.has_no_means = False
    start(folder, assets)
    assert made_up.saved == 1


@pytest.mark.parametrize("maker", ["_save", "_restore"])
def test_a_machine_that_can_not_be_is_no_matter_of_snapshots(
    folder: Path, assets: Assets, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    """But for one whose file is the reason: that does without."""

    def refuse(*_: object) -> None:
        raise QemuRefused(why)

    monkeypatch.setattr(snapshot, maker, refuse)
    why = "QEMU doesn't start: no such property"
    with pytest.raises(QemuRefused):
        start(folder, assets)
    why = f"QEMU doesn't start: can't open backing store {folder}/1/ram for guest RAM"
    with pytest.raises(SnapshotFailed, match="can't open backing store"):
        start(folder, assets)


@pytest.mark.parametrize("name", ["ram", "state"])
@pytest.mark.parametrize("left", [0, None])
def test_one_of_which_a_part_is_missing_is_made_anew(
    folder: Path, assets: Assets, made_up: MadeUp, name: str, left: int | None
) -> None:
    start(folder, assets)
    part = folder / key_of(assets, OPTIONS) / name
    if left is None:
        part.unlink()
    else:
        os.truncate(part, left)
    start(folder, assets)
    assert made_up.saved == 2
    assert len(made_up.restored) == 2


def test_what_somebody_was_killed_at_goes(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    key = key_of(assets, OPTIONS)
    (folder / f"{key}.new").mkdir(parents=True)
    (folder / f"{key}.new" / "ram").write_text("half of it")
    start(folder, assets)
    assert snapshots(folder) == [key]
    assert made_up.saved == 1


def test_the_last_boots_go_and_their_locks(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    old = folder / "000000000000-1234"
    old.mkdir(parents=True)
    old.with_suffix(".lock").touch()
    start(folder, assets)
    assert snapshots(folder) == [key_of(assets, OPTIONS)]
    assert not old.with_suffix(".lock").exists()


def test_locks_of_what_is_gone_go(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    made_up.fails_to_restore = True
    with pytest.raises(SnapshotFailed):
        start(folder, assets)
    made_up.fails_to_restore = False
    other = MachineOptions(cpus=2)
    start(folder, assets, other)
    assert [lock.stem for lock in folder.glob("*.lock")] == [key_of(assets, other)]


def test_what_is_in_use_stays(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    old = folder / "000000000000-1234"
    old.mkdir(parents=True)
    with open(old.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        start(folder, assets)
        assert old.exists()


def test_the_latest_few_stay(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    for cpus in range(1, 21):
        start(folder, assets, MachineOptions(cpus=cpus))
        os.utime(folder / key_of(assets, MachineOptions(cpus=cpus)), (cpus, cpus))
    assert len(snapshots(folder)) == 16
    assert key_of(assets, MachineOptions(cpus=20)) in snapshots(folder)
    assert key_of(assets, MachineOptions(cpus=1)) not in snapshots(folder)


def test_several_at_once_make_one(folder: Path, assets: Assets, made_up: MadeUp) -> None:
    threads = [threading.Thread(target=start, args=(folder, assets)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made_up.saved == 1
    assert len(made_up.restored) == 8


def test_a_folder_that_can_not_be_written_is_told(assets: Assets, made_up: MadeUp) -> None:
    with pytest.raises(SnapshotFailed, match="keeping a snapshot in /proc"):
        start(Path("/proc/snapshots"), assets)


@pytest.mark.parametrize(
    "options",
    [
        MachineOptions(iommu="none"),
        MachineOptions(cpus=2),
        MachineOptions(memory=2 << 30),
        MachineOptions(bridges=1),
    ],
    ids=str,
)
def test_each_option_has_its_own(assets: Assets, options: MachineOptions) -> None:
    assert key_of(assets, options) != key_of(assets, OPTIONS)


@pytest.mark.parametrize("name", ["vmlinux", "initramfs", "qemu"])
def test_each_file_counts(assets: Assets, tmp_path: Path, name: str) -> None:
    before = key_of(assets, OPTIONS)
    assert key_of(assets, OPTIONS) == before
    (tmp_path / name).write_text("a newer one")
    assert key_of(assets, OPTIONS) != before


def test_the_hosts_boot_counts(
    assets: Assets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(assets, OPTIONS)
    boot = tmp_path / "boot_id"
    boot.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    monkeypatch.setattr(snapshot, "_BOOT_ID", boot)
    assert key_of(assets, OPTIONS) != before
    assert key_of(assets, OPTIONS).startswith("0123456789ab-")


def test_amd_knows_its_devices_from_the_start() -> None:
    assert not can_be_saved(MachineOptions(iommu="amd"))
    assert can_be_saved(MachineOptions(iommu="intel"))
    assert can_be_saved(MachineOptions(iommu="none"))
