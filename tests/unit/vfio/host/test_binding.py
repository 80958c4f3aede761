# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Functions change hands, all or none, and go back to who had them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import Change, HostFunction, bind, unbind
from pyvmm.vfio.host.binding_record import Record
from tests.unit.vfio.host.made_host import MadeHost

NIC, SOUND, USB = "0000:01:00.0", "0000:01:00.1", "0000:01:00.2"
OTHER = "0000:02:00.0"


@pytest.fixture
def card(host: MadeHost) -> None:
    """A card of three functions in one group, beneath a bridge that is in it too."""
    port = host.function("0000:00:01.0", driver="pcieport", group=14, header=1, class_code=0x060400)
    host.function(NIC, behind=port, driver="e1000e", group=14)
    host.function(SOUND, behind=port, driver="snd_hda_intel", group=14, class_code=0x040300)
    host.function(USB, behind=port, driver=None, group=14, class_code=0x0C0330)
    host.function(OTHER, driver="nvme", group=15, class_code=0x010802)


@pytest.mark.usefixtures("card")
class TestBind:
    def test_one(self, host: MadeHost) -> None:
        (change,) = bind([OTHER], root=host.root)
        assert change == Change(HostFunction(OTHER, root=host.root), "nvme", "vfio-pci")
        assert host.override_of(OTHER) == "vfio-pci"
        device = f"sys/bus/pci/devices/{OTHER}"
        assert host.writes == [
            (f"{device}/driver_override", "vfio-pci"),
            (f"{device}/driver/unbind", OTHER),
            ("sys/bus/pci/drivers_probe", OTHER),
        ]

    def test_what_is_still_to_be_done(self, host: MadeHost) -> None:
        (change,) = bind([NIC], root=host.root)
        assert change.after == "vfio-pci"
        assert f"group 14 is not viable: {SOUND} is bound to snd_hda_intel" in change.note

    def test_a_whole_group(self, host: MadeHost) -> None:
        changes = bind(["01:00.0"], whole_group=True, root=host.root)
        assert [(change.function.bdf, change.before) for change in changes] == [
            (NIC, "e1000e"),
            (SOUND, "snd_hda_intel"),
            (USB, None),
        ]
        assert all(change.after == "vfio-pci" and not change.note for change in changes)
        assert host.driver_of("0000:00:01.0") == "pcieport"

    def test_again_changes_nothing(self, host: MadeHost) -> None:
        bind([OTHER], root=host.root)
        host.writes.clear()
        (change,) = bind([OTHER, OTHER], root=host.root)
        assert (change.before, change.after) == ("vfio-pci", "vfio-pci")
        assert host.writes == []
        unbind([OTHER], root=host.root)
        assert host.driver_of(OTHER) == "nvme"

    def test_a_driver_that_refuses_undoes_those_before_too(self, host: MadeHost) -> None:
        def refuse(path: str, text: str) -> int:
            return errno.EINVAL if path.endswith("drivers_probe") and text == SOUND else 0

        host.refuse = refuse
        with pytest.raises(HostDeviceUnavailable) as failed:
            bind([OTHER, NIC, SOUND], root=host.root)
        assert str(failed.value).startswith(
            f"giving {SOUND} to vfio-pci: write {host.root}/sys/bus/pci/drivers_probe: EINVAL ("
        )
        self.nothing_has_changed(host)

    def test_a_probe_without_effect(self, host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(path: str, text: str) -> None:
            if not path.endswith("drivers_probe"):
                host.write(path, text)

        monkeypatch.setattr("pyvmm.vfio.host.sysfs.write", write)
        with pytest.raises(HostDeviceUnavailable, match="driver refused it; the kernel's log"):
            bind([OTHER], root=host.root)
        self.nothing_has_changed(host)

    def test_no_permission(self, host: MadeHost) -> None:
        host.refuse = lambda _path, _text: errno.EACCES
        with pytest.raises(HostDeviceUnavailable, match=r"EACCES \(.*\); do it as root \(sudo\)"):
            bind([OTHER], root=host.root)
        self.nothing_has_changed(host)

    def test_an_interruption(self, host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(path: str, text: str) -> None:
            host.write(path, text)
            if path.endswith("unbind") and text == NIC:
                raise KeyboardInterrupt

        monkeypatch.setattr("pyvmm.vfio.host.sysfs.write", write)
        with pytest.raises(KeyboardInterrupt):
            bind([OTHER, NIC], root=host.root)
        self.nothing_has_changed(host)

    def test_an_undo_that_fails_is_told_and_can_be_repeated(self, host: MadeHost) -> None:
        def refuse(path: str, text: str) -> int:
            if path.endswith("drivers_probe") and text == NIC:
                return errno.EINVAL
            return errno.EBUSY if path.endswith("nvme/bind") else 0

        host.refuse = refuse
        with pytest.raises(HostDeviceUnavailable) as failed:
            bind([OTHER, NIC], root=host.root)
        assert f"; undoing it failed: giving {OTHER} back to nvme: write" in str(failed.value)
        assert host.driver_of(NIC) == "e1000e"
        assert host.records() == [OTHER]

    def nothing_has_changed(self, host: MadeHost) -> None:
        drivers = {NIC: "e1000e", SOUND: "snd_hda_intel", USB: None, OTHER: "nvme"}
        assert {bdf: host.driver_of(bdf) for bdf in drivers} == drivers
        assert {host.override_of(bdf) for bdf in drivers} == {"(null)"}
        assert host.records() == []

    def test_what_is_not_allowed(self, host: MadeHost) -> None:
        """Who forbids it sees all that would be taken, and nothing else."""
        asked: list[list[str]] = []

        class Forbidden(Exception):
            pass

        def forbid(taken: Sequence[HostFunction]) -> None:
            asked.append([function.bdf for function in taken])
            raise Forbidden

        bind([USB], root=host.root)
        with pytest.raises(Forbidden):
            bind([NIC, OTHER], whole_group=True, allow=forbid, root=host.root)
        assert asked == [[NIC, SOUND, OTHER]]
        bind([USB], allow=forbid, root=host.root)
        assert len(asked) == 1
        unbind([USB], root=host.root)
        self.nothing_has_changed(host)

    def test_a_bridge(self, host: MadeHost) -> None:
        with pytest.raises(HostDeviceUnavailable, match=r"is a bridge, .*; bind the devices"):
            bind(["00:01.0"], root=host.root)

    def test_a_part_of_the_chipset(self, host: MadeHost) -> None:
        host.function("0000:00:1f.0", group=13, class_code=0x060100)
        with pytest.raises(HostDeviceUnavailable, match="is part of the host's chipset"):
            bind(["00:1f.0"], root=host.root)

    def test_a_function_without_an_iommu(self, host: MadeHost) -> None:
        host.function("0000:03:00.0", driver="edu")
        with pytest.raises(HostDeviceUnavailable, match="no IOMMU group, so VFIO doesn't take it"):
            bind(["03:00.0"], root=host.root)
        host.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
        host.writes.clear()
        host.refuse = lambda path, _text: errno.EIO if path.endswith("unbind") else 0
        with pytest.raises(HostDeviceUnavailable, match="EIO"):  # it gets that far
            bind(["03:00.0"], root=host.root)

    def test_a_group_that_another_bus_spoils(self, host: MadeHost) -> None:
        host.file("sys/devices/platform/dma0/uevent", "")
        host.member(14, "dma0", "sys/devices/platform/dma0")
        host.link("sys/devices/platform/dma0/driver", "sys/bus/platform/drivers/pl330")
        with pytest.raises(HostDeviceUnavailable, match="dma0 is bound to pl330; unbind it"):
            bind([NIC], whole_group=True, root=host.root)
        self.nothing_has_changed(host)

    def test_vfio_pci_is_loaded_if_need_be(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = host.root / "sys/bus/pci/drivers/vfio-pci"
        driver.rename(host.root / "unloaded")
        asked: list[list[str]] = []

        def run(args: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            asked.append(args)
            return subprocess.CompletedProcess(args, 1, "", "modprobe: FATAL: not found\n")

        monkeypatch.setattr(subprocess, "run", run)
        with pytest.raises(HostDeviceUnavailable, match="FATAL: not found; as root, and with the"):
            bind([OTHER], root=host.root)
        assert asked == [["modprobe", "vfio-pci"]]

        def load(args: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            host.driver("vfio-pci")
            return subprocess.CompletedProcess(args, 0, "", "")

        monkeypatch.setattr(subprocess, "run", load)
        bind([OTHER], root=host.root)
        assert host.driver_of(OTHER) == "vfio-pci"


@pytest.mark.usefixtures("card")
class TestUnbind:
    def test_to_the_former_driver(self, host: MadeHost) -> None:
        bind([NIC], whole_group=True, root=host.root)
        assert host.records() == [NIC, SOUND, USB]
        changes = unbind([NIC], whole_group=True, root=host.root)
        assert [change.after for change in changes] == ["e1000e", "snd_hda_intel", None]
        TestBind().nothing_has_changed(host)

    def test_to_a_former_override(self, host: MadeHost) -> None:
        host.file(f"sys/devices/pci0000:02/{OTHER}/driver_override", "nvme\n")
        bind([OTHER], root=host.root)
        unbind([OTHER], root=host.root)
        assert (host.driver_of(OTHER), host.override_of(OTHER)) == ("nvme", "nvme")

    def test_without_a_record_the_kernel_chooses(self, host: MadeHost) -> None:
        host.function("0000:05:00.0", driver="vfio-pci", group=5)
        host.file("sys/devices/pci0000:05/0000:05:00.0/driver_override", "vfio-pci")
        host.default_drivers["0000:05:00.0"] = "virtio-pci"
        (change,) = unbind(["05:00.0"], root=host.root)
        assert (change.before, change.after) == ("vfio-pci", "virtio-pci")
        assert host.override_of("0000:05:00.0") == "(null)"

    def test_of_another_device_the_record_does_not_count(self, host: MadeHost) -> None:
        bind([OTHER], root=host.root)
        host.file(f"sys/devices/pci0000:02/{OTHER}/device", "0x9999\n")
        (change,) = unbind([OTHER], root=host.root)
        assert change.after is None
        assert host.records() == []

    def test_one_that_vfio_has_not_got(self, host: MadeHost) -> None:
        (change,) = unbind([OTHER], root=host.root)
        assert (change.before, change.after) == ("nvme", "nvme")
        assert host.writes == []

    def test_one_that_was_given_back_by_hand_is_forgotten(self, host: MadeHost) -> None:
        bind([OTHER], root=host.root)
        host.write(f"{host.root}/sys/bus/pci/devices/{OTHER}/driver_override", "\n")
        host.write(f"{host.root}/sys/bus/pci/devices/{OTHER}/driver/unbind", OTHER)
        unbind([OTHER], root=host.root)
        assert host.records() == []

    def test_one_that_is_in_use(self, host: MadeHost) -> None:
        bind([OTHER, NIC], root=host.root)
        host.process(42, "qemu-system-x86", "/dev/vfio/15")
        host.writes.clear()
        with pytest.raises(HostDeviceUnavailable, match=r"in use: .*qemu-system-x86 \(process 42"):
            unbind([NIC, OTHER], root=host.root)
        assert host.writes == []
        assert host.driver_of(NIC) == "vfio-pci"

    def test_one_whose_group_is_in_use(self, host: MadeHost) -> None:
        """No driver of the host's would be given it, and it would have none."""
        bind([NIC, SOUND], root=host.root)
        host.file(f"sys/bus/pci/devices/{NIC}/vfio-dev/vfio0/dev", "511:0")
        host.process(42, "pyvmm", "/dev/vfio/devices/vfio0")
        host.writes.clear()
        with pytest.raises(HostDeviceUnavailable, match=r"01:00\.0, of the same IOMMU group as"):
            unbind([SOUND], root=host.root)
        assert host.writes == []
        assert host.driver_of(SOUND) == "vfio-pci"

    def test_a_driver_that_is_gone(self, host: MadeHost) -> None:
        bind([OTHER], root=host.root)
        for file in (host.root / "sys/bus/pci/drivers/nvme").iterdir():
            file.unlink()
        (host.root / "sys/bus/pci/drivers/nvme").rmdir()
        with pytest.raises(HostDeviceUnavailable, match=r"took no driver; .*modprobe nvme"):
            unbind([OTHER], root=host.root)
        assert host.override_of(OTHER) == "(null)"

    def test_each_is_tried(self, host: MadeHost) -> None:
        bind([OTHER, NIC], root=host.root)
        host.refuse = lambda path, _text: errno.EBUSY if path.endswith("nvme/bind") else 0
        with pytest.raises(HostDeviceUnavailable, match=f"giving {OTHER} back to nvme"):
            unbind([OTHER, NIC], root=host.root)
        assert host.driver_of(NIC) == "e1000e"
        assert host.records() == [OTHER]


class Killed(BaseException):
    """The process ends here: it writes nothing any more, so nothing is undone either."""


@pytest.mark.usefixtures("card")
class TestHalfWay:
    """What a process that was killed has left, or one that was told to stop has not."""

    def dying(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch, writes: int, change: object
    ) -> None:
        """Change drivers, and die before the write of this number."""
        left = [writes]

        def write(path: str, text: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            host.write(path, text)

        with monkeypatch.context() as broken:
            broken.setattr("pyvmm.vfio.host.sysfs.write", write)
            broken.setattr("pyvmm.vfio.host.binding._undo", lambda *_: None)
            with pytest.raises(Killed):
                change([OTHER], root=host.root)  # type: ignore[operator]

    @pytest.mark.parametrize("writes", [0, 1, 2])
    @pytest.mark.parametrize("again", [False, True])
    def test_a_bind_that_was_killed(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch, writes: int, again: bool
    ) -> None:
        self.dying(host, monkeypatch, writes, bind)
        assert host.records() == [OTHER]
        if again:
            bind([OTHER], root=host.root)
            assert host.driver_of(OTHER) == "vfio-pci"
        unbind([OTHER], root=host.root)
        TestBind().nothing_has_changed(host)

    @pytest.mark.parametrize("writes", [0, 1, 2])
    @pytest.mark.parametrize("again", [False, True])
    def test_an_unbind_that_was_killed(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch, writes: int, again: bool
    ) -> None:
        bind([OTHER], root=host.root)
        self.dying(host, monkeypatch, writes, unbind)
        if again:
            bind([OTHER], root=host.root)
            assert host.driver_of(OTHER) == "vfio-pci"
        unbind([OTHER], root=host.root)
        TestBind().nothing_has_changed(host)

    def test_an_unbind_that_is_told_to_stop_ends_what_it_began(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bind([OTHER, USB], root=host.root)
        interrupted: list[str] = []

        def write(path: str, text: str) -> None:
            host.write(path, text)
            if not interrupted:
                interrupted.append(path)
                raise KeyboardInterrupt

        monkeypatch.setattr("pyvmm.vfio.host.sysfs.write", write)
        with pytest.raises(KeyboardInterrupt):
            unbind([OTHER, USB], root=host.root)
        assert interrupted[0].endswith("driver/unbind")
        assert host.driver_of(OTHER) == "nvme"
        assert host.records() == [USB]

    def test_what_somebody_else_has_done_since_counts(self, host: MadeHost) -> None:
        bind([OTHER], root=host.root)
        path = f"{host.root}/sys/bus/pci/devices/{OTHER}"
        host.driver("mine")
        host.write(f"{path}/driver_override", "mine")
        host.write(f"{path}/driver/unbind", OTHER)
        host.write(f"{host.root}/sys/bus/pci/drivers_probe", OTHER)
        assert host.driver_of(OTHER) == "mine"
        bind([OTHER], root=host.root)
        unbind([OTHER], root=host.root)
        assert (host.driver_of(OTHER), host.override_of(OTHER)) == ("mine", "mine")

    def test_what_is_taken_is_decided_when_nobody_else_changes_it(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another bind, of the same device, is through just before we have the lock."""
        flock = fcntl.flock

        def late(fd: int, operation: int) -> None:
            with monkeypatch.context() as other:
                other.setattr(fcntl, "flock", flock)
                bind([OTHER], root=host.root)
            flock(fd, operation)

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(fcntl, "flock", late)
            (change,) = bind([OTHER], root=host.root)
        assert (change.before, change.after) == ("vfio-pci", "vfio-pci")
        unbind([OTHER], root=host.root)
        TestBind().nothing_has_changed(host)


@pytest.mark.usefixtures("card")
class TestRecords:
    def test_where_run_cannot_be_written(
        self, host: MadeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host.file("run/pyvmm", "a file, where a directory should be")
        with pytest.raises(HostDeviceUnavailable, match="or set XDG_RUNTIME_DIR to a dir"):
            bind([OTHER], root=host.root)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
        bind([OTHER], root=host.root)
        assert (tmp_path / "runtime/pyvmm/bindings" / OTHER).exists()
        unbind([OTHER], root=host.root)
        assert host.driver_of(OTHER) == "nvme"
        assert not (tmp_path / "runtime/pyvmm/bindings" / OTHER).exists()

    def test_where_run_is_roots(self, host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        """Made by root's bind; root itself may write anywhere."""
        folder = host.root / "run/pyvmm/bindings"
        folder.mkdir(parents=True)
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(HostDeviceUnavailable, match=rf"access {folder}: EACCES .*\(sudo\)$"):
            bind([OTHER], root=host.root)

    def test_no_descriptor_to_lock_with(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none_left(path: str, flags: int, mode: int = 0o777) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(os, "open", none_left)
        with pytest.raises(HostDeviceUnavailable, match="EMFILE") as caught:
            bind([OTHER], root=host.root)
        assert caught.value.cure == "raise the limit on open files (ulimit -n)"

    def test_a_record_of_somebody_else(
        self, host: MadeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bind([OTHER], root=host.root)
        record = host.root / "run/pyvmm/bindings" / OTHER
        me = os.geteuid()
        if me == 0:
            os.chown(record, 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        (change,) = unbind([OTHER], root=host.root)
        assert change.after is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "nonsense",
            "[]",
            "{}",
            json.dumps({"vendor": 1, "device": 2, "driver": "../../x", "driver_override": None}),
            json.dumps({"vendor": 1, "device": 2, "driver": "..", "driver_override": None}),
            json.dumps({"vendor": "1", "device": 2, "driver": None, "driver_override": None}),
            json.dumps({"vendor": 1, "device": 2, "driver": 3, "driver_override": None}),
        ],
    )
    def test_what_is_no_record(self, text: str) -> None:
        assert Record.parse(text.encode()) is None
