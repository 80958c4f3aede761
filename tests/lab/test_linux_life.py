# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests that reboot, end in any way, are killed, or run beside each other."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from pyvmm.cli import exit_codes
from pyvmm.machine import End
from pyvmm.vfio.kernel import KernelDevice
from tests.conftest import ROOT
from tests.lab.conftest import MakeLinux
from tests.lab.guest_images import GUESTS, for_profile
from tests.lab.linux_guest import CONSOLE, PATIENCE, boots

pytestmark = [
    pytest.mark.proof,
    pytest.mark.profiles("proof", "proof-6.1", "proof-newest"),
    pytest.mark.timeout(1200),
]

GetDevice = Callable[[str], str]

SHELL = boots("nvme")
DRIVE = boots("nvme", "ext4", script="nvme.sh")
CARD = boots("e1000e", kernel=GUESTS, script="network.sh")
LOAD = {
    "kernel": f"debian:{GUESTS}-cloud",
    "initrd": {"modules": ["nvme"], "script": "tests/lab/scripts/load.sh"},
}
READ = "dd if=/dev/nvme0n1 of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null"
AT_WORK = f"while {READ}; do :; done &"
READS = f"until [ -e /dev/nvme0n1 ]; do sleep 1; done; {READ}"
PANIC = "echo c >/proc/sysrq-trigger"
COUNT = "grep -c 'MSI.*nvme0q' /proc/interrupts"


@pytest.mark.boots(SHELL)
def test_reboots_with_a_drive_at_work(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice
) -> None:
    """Once as Linux does it, once with nobody asked: each time the drive is as new."""
    vm = make_linux(SHELL, [lab_device("nvme")], cpus=2)
    vm.start()
    for turn, reboot in enumerate(("reboot -f", "echo b >/proc/sysrq-trigger"), 1):
        vm.shell(READS)
        assert vm.shell(COUNT) == ["3"]
        vm.send(AT_WORK)
        vm.send(reboot)
        vm.prompt()
        assert vm.machine.resets == turn
    vm.shell(READS)
    assert vm.shell(COUNT) == ["3"]
    assert vm.notices == []


@pytest.mark.boots(SHELL)
def test_a_bus_that_is_reset_in_use(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the port above the drive, as Linux does it; its driver goes on."""
    by_bus: list[str] = []
    reset = KernelDevice.reset_by_bus

    def reset_by_bus(device: KernelDevice) -> None:
        reset(device)
        by_bus.append(device.name)

    monkeypatch.setattr(KernelDevice, "reset_by_bus", reset_by_bus)
    drive = lab_device("nvme")
    vm = make_linux(SHELL, [{"host": drive, "root_port": True}], cpus=2)
    vm.start()
    vm.shell(READS)
    vm.shell("function=$(readlink -f /sys/class/nvme/nvme0/device)")
    vm.shell("echo bus >$function/reset_method")
    for turn in range(1, 4):
        vm.shell("echo 1 >$function/reset")
        assert by_bus == [drive] * turn
        vm.shell(READS)
    assert vm.shell(COUNT) == ["3"]
    assert vm.notices == []


@pytest.mark.boots(LOAD, DRIVE)
def test_a_vmm_that_is_killed_under_load(
    profile: str, backend: str, make_linux: MakeLinux, lab_device: GetDevice
) -> None:
    """Its device can be assigned again at once."""
    drive = lab_device("nvme")
    settings = {
        "kernel": for_profile(LOAD, profile)["kernel"],
        "initrd": "{modules: [nvme], script: tests/lab/scripts/load.sh}",
        "cmdline": CONSOLE,
        "devices": f'[{{host: "{drive}"}}]',
        "memory": "192M",
    }
    command = [sys.executable, "-m", "pyvmm", "run", "configs/linux.yaml"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as vmm:
        assert vmm.stdout is not None
        assert [vmm.stdout.readline() for _ in range(3)] == ["at work\n"] * 3
        vmm.kill()
        assert vmm.wait() == -signal.SIGKILL
        vm = make_linux(DRIVE, [drive], "overwrite=yes size=2")
        vm.passes()
    assert vm.notices == []


@pytest.mark.boots(DRIVE, CARD)
def test_two_at_once(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    """Each with a device of its own, which it uses while the other one uses its."""
    first = make_linux(DRIVE, [lab_device("nvme")], "overwrite=yes size=4")
    second = make_linux(CARD, [lab_device("e1000e")], "packets=10000")
    second.machine.start()
    second.machine.console.expect("its interrupts are msix", PATIENCE)
    first.passes()
    assert second.machine.outcome is None, "it was at it all the time"
    assert second.ends().ok, second.machine.console.text
    assert second.machine.console.text.splitlines()[-1] == "PASS"
    assert first.notices == second.notices == []


@pytest.mark.boots(SHELL)
@pytest.mark.parametrize(
    ("parameters", "command", "end", "status"),
    [
        ("", "poweroff", End.POWER_OFF, exit_codes.OK),
        ("", "reboot", End.RESET, exit_codes.GUEST_RESET),
        ("", PANIC, End.PANIC, exit_codes.GUEST_PANIC),
        ("", f"rmmod pvpanic_mmio && {PANIC}", End.RESET, exit_codes.GUEST_RESET),
        ("reboot=triple", "reboot -f", End.CRASH, exit_codes.GUEST_CRASH),
        ("reboot=bios", "reboot -f", End.RESET, exit_codes.GUEST_RESET),
        ("", "exit-guest 7", End.EXIT, 7),
    ],
    ids=[
        "poweroff",
        "reboot",
        "panic",
        "panic that is not told",
        "triple fault",
        "by a BIOS",
        "exit",
    ],
)
def test_how_it_ends(
    make_linux: MakeLinux,
    lab_device: GetDevice,
    parameters: str,
    command: str,
    end: End,
    status: int,
) -> None:
    """With a drive at work."""
    vm = make_linux(SHELL, [lab_device("nvme")], parameters, on_reset="exit")
    vm.start()
    vm.shell(READS)
    vm.send(AT_WORK)
    vm.send(command)
    outcome = vm.ends()
    assert (outcome.end, exit_codes.of_outcome(outcome)) == (end, status), outcome.report
    assert vm.notices == []
