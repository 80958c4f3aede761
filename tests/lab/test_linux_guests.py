# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests out of Debian's packages: the configs as they are, scripts that fail, shells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pyvmm.config import load
from pyvmm.machine import Machine
from tests.conftest import ROOT
from tests.lab.guest_images import config_of

pytestmark = pytest.mark.timeout(400)

LINUX = "configs/linux.yaml"
NVME = "configs/linux-nvme.yaml"
FAILS = {"kernel": "debian:6.12-cloud", "initrd": {"script": "tests/lab/scripts/fails.sh"}}
SHELL = {"kernel": "debian:6.12-cloud", "initrd": {}}
CONSOLE = "console=ttyS0 quiet panic=-1"
PATIENCE = 300
"""Seconds that a boot may take on a machine that is busy."""


def passes(config: str, *settings: str) -> list[str]:
    """`pyvmm run` a config; the lines of its report."""
    command = [sys.executable, "-m", "pyvmm", "run", config]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if "FAIL" in line] == []
    assert (done.returncode, done.stderr, lines[-1:]) == (0, "", ["PASS"]), done.stdout
    return lines


@pytest.mark.proof
@pytest.mark.boots(LINUX)
def test_what_linux_finds() -> None:
    lines = passes(LINUX, "cpus=2")
    assert lines[0].startswith("kernel: Linux 6.12.")
    assert lines[1].startswith("cpus: 2, ")
    assert "clock: kvm-clock" in lines
    assert "  0000:00:00.0 8086:29c0 class 060000, no driver" in lines


@pytest.mark.proof
@pytest.mark.boots(NVME)
def test_a_drive_is_used(lab_device: Callable[[str], str]) -> None:
    """As a user has it, but for the drive's address; what other tests have left on it may go."""
    cmdline = f"cmdline={load(ROOT / NVME).cmdline} overwrite=yes size=4"
    lines = passes(NVME, f"devices[0].host={lab_device('nvme')}", cmdline)
    assert lines[0] == "drive: QEMU NVMe Ctrl, serial LABNVME0"
    for check in (
        "4 MiB are written",
        "they are the same",
        "it is mounted",
        "the file is the same",
    ):
        assert f"  ok   {check}" in lines
    (queue,) = (line.split() for line in lines if line.endswith(" nvme0q1"))
    assert int(queue[1]) > 0


@pytest.mark.proof
@pytest.mark.boots(FAILS)
def test_how_a_script_fails_is_how_the_guest_ends() -> None:
    """By a kernel that has no /dev/port, from which the status could be told."""
    keys = {**FAILS, "cmdline": f"{CONSOLE} count=3", "memory": "128M"}
    with Machine(config_of(keys)) as vm:
        vm.start()
        outcome = vm.wait(PATIENCE)
        assert outcome is not None
        assert outcome.code == 42, vm.console.text
        lines = vm.console.text.splitlines()
    assert lines[-3:] == ["  ok   one is one", "  FAIL there are 3", "FAIL: 1 check failed"]


@pytest.mark.proof
@pytest.mark.boots(SHELL)
def test_a_shell_on_the_serial_line() -> None:
    keys = {**SHELL, "cmdline": CONSOLE, "memory": "128M", "cpus": 2}
    with Machine(config_of(keys)) as vm:
        vm.start()
        vm.console.expect(r"guest:/# ", timeout=PATIENCE)
        vm.console.send("echo $((6 * 7)) $(nproc)\n")
        vm.console.expect("42 2\r\n", timeout=PATIENCE)
        vm.console.send("exit\n")
        outcome = vm.wait(PATIENCE)
        assert outcome is not None
        assert outcome.ok, vm.console.text
