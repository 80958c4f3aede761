# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""`pyvmm serve` with a client that nobody here wrote: QEMU's vfio-user-pci."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pyvmm._counted import counted
from pyvmm.config import parse
from pyvmm.linux import prepare
from tests.conftest import ROOT
from tests.interop.conftest import Qemu, Serve
from tests.interop.guests.conftest import DEBUG_EXIT, command_line, serial_lines

pytestmark = [pytest.mark.interop, pytest.mark.proof]

TIMEOUT = 180.0  # seconds, for a guest; all of testdev takes 30 in software

SHARED = (
    *("-object", "memory-backend-memfd,id=ram,size=128M,share=on"),
    *("-machine", "memory-backend=ram"),
)
ANONYMOUS = ()  # without an fd to pass: the device's DMA goes by messages

# What QEMU does differently, whatever the device. An address where nothing is reads as zero.
# A function-level reset is the device's alone, and what QEMU has of it stays as it is. Doorbells
# are never made ioeventfds.
# The device is not told which vectors are masked: QEMU holds them back itself, and shows them as
# pending only once its main loop has seen them.
QEMU_IS_DIFFERENT = (
    r"disabled, it reads all-ones: got 0x0, .*",
    r"memory decoding off: .* all-ones: got 0x0, .*",
    r".* moved: .* not at the old one: got 0x0, .*",
    r"ROM, moved back: it reads all-ones until it is enabled: got 0x0, .*",
    r"asleep: .* all-ones: got 0x0, .*",
    r"after it: no decoding, no bus mastering: got 0x7, .*",
    r"after it: BAR 0 is at 0: got .*",
    r"after it: the mapped area reads all-ones: got 0xbeef, .*",
    r"none of that trapped: got 0x14, expected 0x0",
    r"(vector|function) (un)?masked.*: vector \d+ is pending",
)


class Ran(NamedTuple):
    """A guest that has ended: QEMU's status, what the guest said, and what QEMU did."""

    status: int
    lines: list[str]
    complaints: str


RunGuest = Callable[..., Ran]


@pytest.fixture
def run(qemu_client: Qemu, guests: Path, tmp_path: Path) -> RunGuest:
    """`run("edu", "-device", "edu")`: boot a guest in software, wait for its end."""

    def run(guest: str, *options: str, append: str = "") -> Ran:
        serial = tmp_path / "serial"  # a file: QEMU's edu prints to stdout
        image = guests / f"{guest}.elf"
        command = command_line(image, append, *DEBUG_EXIT, *options, qemu=qemu_client.command)
        done = subprocess.run(
            [*command, "-serial", f"file:{serial}"],
            env={**os.environ, **qemu_client.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert serial.exists(), done.stderr
        return Ran(done.returncode, serial_lines(serial.read_bytes()), done.stderr)

    return run


@pytest.mark.parametrize("memory", [SHARED, ANONYMOUS], ids=["shared", "messages"])
def test_edu_reports_what_the_edu_of_qemu_does(
    run: RunGuest, serve: Serve, memory: tuple[str, ...]
) -> None:
    own = run("edu", "-device", "edu,addr=01.0")
    device = serve("edu")
    for _ in range(2):  # the server goes on with the next client
        served = run("edu", *memory, "-device", device)
        assert served.lines == own.lines, served.complaints
        assert served.lines[-1] == "PASS"
        assert served.status == own.status == 1


@pytest.mark.kvm
def test_edu_with_the_quick_paths_of_kvm(run: RunGuest, serve: Serve) -> None:
    """INTx is then unmasked by eventfd, which QEMU sets again whenever INTx is routed anew."""
    kvm = ("-M", "q35", "-accel", "kvm", "-cpu", "host")
    served = run("edu", *kvm, *SHARED, "-device", serve("edu"))
    assert served.lines[-1] == "PASS"
    assert served.status == 1
    assert "VFIO_DEVICE_SET_IRQS" not in served.complaints


@pytest.mark.parametrize("memory", [SHARED, ANONYMOUS], ids=["shared", "messages"])
def test_testdev_fails_only_where_qemu_is_different(
    run: RunGuest, serve: Serve, memory: tuple[str, ...]
) -> None:
    served = run("testdev", *memory, "-device", serve("testdev"))
    check_fails_only_where_qemu_is_different(served, passed=180)


def check_fails_only_where_qemu_is_different(served: Ran, *, passed: int) -> None:
    """At least so many checks have passed, and it went on to its end."""
    failed = [line.removeprefix("  FAIL ") for line in served.lines if line.startswith("  FAIL ")]
    assert failed, "QEMU has changed: make this a test for PASS"
    expected = re.compile("|".join(QEMU_IS_DIFFERENT))
    assert [check for check in failed if not expected.fullmatch(check)] == []
    assert served.lines[-1] == f"FAIL: {counted(len(failed), 'check')} failed"
    assert len([line for line in served.lines if line.startswith("  ok ")]) >= passed


def test_the_nvme_guest(run: RunGuest, serve: Serve) -> None:
    """SeaBIOS has used it before, to look for something to boot."""
    served = run("nvme", *SHARED, "-device", serve("nvme"), append="used")
    check_fails_only_where_qemu_is_different(served, passed=40)


@pytest.mark.parametrize("memory", [SHARED, ANONYMOUS], ids=["shared", "messages"])
def test_linux_uses_the_drive(
    qemu_client: Qemu,
    serve: Serve,
    memory: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """It writes, reads, and has a file system on it."""
    drive = tmp_path / "drive"
    with drive.open("wb") as file:
        file.truncate(64 << 20)
    initrd = {"modules": ["nvme", "ext4"], "script": "guests/linux/nvme.sh"}
    config = parse({"kernel": "debian:6.12-cloud/vmlinuz", "initrd": initrd}, base=ROOT)
    kernel, made = prepare(config)
    serial = tmp_path / "serial"
    command = [
        *(*qemu_client.command, "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *DEBUG_EXIT),
        *("-kernel", kernel, "-initrd", str(made), "-serial", f"file:{serial}"),
        *("-append", "console=ttyS0 quiet panic=-1 overwrite=yes size=4"),
        *(option.replace("128M", "256M") for option in memory),
        *("-device", serve("nvme", "--option", f"files={drive}")),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **qemu_client.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    lines = serial_lines(serial.read_bytes())
    assert lines[-1] == "PASS", (lines, done.stderr)
    assert [line for line in lines if "FAIL" in line] == []
    assert done.returncode == 1
    assert b"pyvmm" in drive.read_bytes()[: 1 << 20]  # the file system's label
