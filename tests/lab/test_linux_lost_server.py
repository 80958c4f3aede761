# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux whose drive is a model in another process, which is killed under it, and comes back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab.conftest import MakeLinux
from tests.lab.linux_guest import PATIENCE, LinuxVm, boots

pytestmark = [pytest.mark.proof, pytest.mark.profiles("proof"), pytest.mark.timeout(1200)]

DRIVE = boots("nvme", "ext4")
DISK = "/dev/nvme0n1"
SLOT = "0000:00:01.0"
IDS = f"""hexdump -n 4 -e '1/4 "%08x\\n"' /sys/bus/pci/devices/{SLOT}/config"""
THERE = f"until [ -e {DISK} ]; do sleep 1; done"
PUT = (
    f"mke2fs -F {DISK} >/dev/null 2>&1 && mount -t ext4 {DISK} /mnt && "
    "head -c 1000000 /dev/urandom >/mnt/file && md5sum </mnt/file >/tmp/sum && sync && cat /tmp/sum"
)
# Past what it has cached, and up to the first error.
WORK = (
    "while dd if=/dev/zero of=/mnt/more bs=64k count=16 oflag=direct 2>/tmp/said && "
    f"dd if={DISK} of=/dev/null bs=64k count=16 iflag=direct 2>/tmp/said; do echo at work; done; "
    "cat /tmp/said"
)
TOOK = f"mount -t ext4 {DISK} /mnt && md5sum </mnt/file"
WORKS = "mount -o remount,rw /mnt && cp /mnt/file /mnt/copy && sync && cmp /mnt/file /mnt/copy"


class DriveServer:
    """`pyvmm serve nvme` with one file, time and again; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "nvme.sock"
        self._file = folder / "disk.img"
        with self._file.open("wb") as file:
            file.truncate(64 << 20)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "pyvmm", "serve", "nvme", "--socket", str(self.socket)]
        command += ["--option", f"files={self._file}"]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        assert "is served at" in self._process.stderr.readline()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DriveServer]:
    server = DriveServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def vm(server: DriveServer, make_linux: MakeLinux) -> LinuxVm:
    """It runs, and has found its drive."""
    vm = make_linux(DRIVE, [{"socket": str(server.socket)}], cpus=2)
    vm.start()
    vm.shell(f"dmesg -n 1; {THERE}")  # the kernel's messages would be in the midst of answers
    return vm


def loses_its_drive(vm: LinuxVm, server: DriveServer) -> str:
    """The drive's server is killed while it is written and read; what was in a file before."""
    assert vm.shell(IDS) != ["ffffffff"]
    (before,) = vm.shell(PUT)
    vm.send(WORK)
    vm.machine.console.expect("at work(?s:.*)at work", PATIENCE)
    server.kill()
    vm.machine.console.expect("Input/output error|I/O error", PATIENCE)
    assert vm.shell("echo lives") == ["lives"]
    # Linux fails reads of a drive that is lost, or has it end at 0, or has removed it.
    assert vm.shell(f"dd if={DISK} count=1 iflag=direct 2>/dev/null | wc -c") == ["0"]
    assert vm.shell(IDS) == ["ffffffff"]
    (notice,) = vm.notices
    assert re.fullmatch(
        rf"vfio-user server {server.socket} hung up.*; the guest goes on without the device until "
        "its server runs again and the guest is reset",
        notice,
    )
    return before


@pytest.mark.boots(DRIVE)
def test_used_again_after_a_reboot(vm: LinuxVm, server: DriveServer) -> None:
    """Not by the first one, at which there is no server."""
    before = loses_its_drive(vm, server)
    vm.send("reboot -f")
    vm.prompt()
    assert vm.shell("sleep 2; ls /sys/class/nvme") == []
    assert len(vm.notices) == 2
    assert "connect: ECONNREFUSED" in vm.notices[1]
    server.start()
    vm.send("reboot -f")
    vm.prompt()
    vm.shell(THERE)
    assert vm.shell(TOOK) == [before]
    vm.shell(WORKS)
    assert vm.notices[2:] == [f"vfio-user server {server.socket} is back"]
    assert vm.machine.resets == 2


@pytest.mark.boots(DRIVE)
def test_used_again_without_one(vm: LinuxVm, server: DriveServer) -> None:
    """Linux looks for the drive when it is told to."""
    before = loses_its_drive(vm, server)
    server.start()
    assert vm.machine.replug() == [f"vfio-user server {server.socket}"]
    vm.shell("umount -l /mnt")
    vm.shell(f"echo 1 >/sys/bus/pci/devices/{SLOT}/remove; echo 1 >/sys/bus/pci/rescan")
    again = "until ls /dev/nvme?n1; do sleep 1; done 2>/dev/null"
    (disk,) = vm.shell(again)
    assert vm.shell(TOOK.replace(DISK, disk)) == [before]
    vm.shell(WORKS)
    assert vm.machine.resets == 0
