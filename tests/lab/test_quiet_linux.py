# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux has nothing to complain of: ACPI, PCI and interrupts, with devices where they can be.

Each kernel is given a device on bus 0, and others behind root ports; what it says has to be
expected, by a list that has the reason for each exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pyvmm.machine import End, Machine
from tests.lab.busy import BUSY
from tests.lab.guest_images import config_of

PATIENCE = 600
"""Seconds that a boot may take on a machine that is busy."""

pytestmark = [pytest.mark.proof, pytest.mark.timeout(PATIENCE + 60)]

KERNELS = ("debian:6.1", "debian:6.12", "debian:newest")
MODULES = {"modules": ["nvme", "e1000e"], "script": "tests/lab/scripts/messages.sh"}
POWER_OFF = {
    "kernel": "debian:6.12-cloud",
    "initrd": {"script": "tests/lab/scripts/power_off.sh"},
}

# Without watchdogs, which bark at what a machine in software, busy with others, takes for a step,
# and without a warning of ftrace's about clocks that seem unstable there.
CMDLINE = (
    "console=ttyS0 quiet panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1 trace_clock=local"
)

ALLOWED = {
    # Of the machine as it is.
    r"ACPI: Early table checksum verification disabled": "Linux leaves that out on x86",
    r"PCI: Using host bridge windows from ACPI; if necessary, use .* and report a bug": (
        "it says so on every machine that has windows"
    ),
    r"acpi PNP0A08:00: _OSC: platform does not support \[PCIeHotplug SHPCHotplug PME AER LTR\]": (
        "there are no such events, and a device's are its host's: see dsdt.py"
    ),
    r"amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled": (
        "a guest doesn't set the clock of the host's processors"
    ),
    **BUSY,
}

COMPLAINS = re.compile(
    r"fail|can't|cannot|could not|\bnot\b|\bno\b|invalid|conflict|unable|ignor|\berror|\bbug\b|"
    r"unassigned|disabl|missing|skip|retain|\bbad\b|bogus|overlap|timed? ?out|incorrect|reconfigur",
    re.IGNORECASE,
)
ABOUT = re.compile(
    r"(ACPI|acpi|PCI|pci|pci_bus|pci_root|pcieport|pciehp|shpchp|acpiphp|pnp|system|APIC|IOAPIC|x2apic"
    r"|e820|BIOS-e820|resource)\b"
)
REASSIGNED = re.compile(r"assigned|releasing|add_size|released|reassign")


def messages(kernel: str, nvme: str, e1000e: str) -> list[tuple[int, str]]:
    """(level, text) of what a kernel says, with nvme on bus 0 and e1000e behind a root port."""
    config = config_of(
        {
            "kernel": kernel,
            "initrd": MODULES,
            "cmdline": CMDLINE,
            "memory": "256M",
            "cpus": 2,
            "devices": [
                {"host": nvme},
                {"host": e1000e, "root_port": True},
                {"model": "testdev", "root_port": True},
            ],
        }
    )
    with Machine(config) as vm:
        vm.start()
        outcome = vm.wait(PATIENCE)
        assert outcome is not None, vm.console.text
        assert outcome.ok, vm.console.text
        lines = vm.console.text.splitlines()
    found = (re.fullmatch(r"<(\d+)>\[ *\d+\.\d+\] (.*)", line) for line in lines)
    return [(int(line[1]) & 7, line[2]) for line in found if line is not None]


def complaints(said: list[tuple[int, str]]) -> list[str]:
    """Warnings and worse of any kind, and what else of the platform sounds like one."""
    return [
        text
        for level, text in said
        if (level <= 4 or (ABOUT.match(text) and COMPLAINS.search(text)))
        and not any(re.fullmatch(allowed, text) for allowed in ALLOWED)
    ]


@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(kernel, marks=pytest.mark.boots({"kernel": kernel, "initrd": MODULES}))
        for kernel in KERNELS
    ],
)
def test_linux_has_no_complaint(kernel: str, lab_device: Callable[[str], str]) -> None:
    said = messages(kernel, lab_device("nvme"), lab_device("e1000e"))
    assert complaints(said) == []

    texts = [text for _, text in said]
    all_of_it = "\n".join(texts)
    for expected in (
        r"PCI: (ECAM|MMCONFIG) (at )?\[mem 0xe0000000-0xe02fffff\] reserved (in|as) E820",
        r"acpi PNP0A08:00: _OSC: OS now controls \[PCIeCapability\]",
        r"pci_bus 0000:00: root bus resource \[bus 00-02\]",
        r"pci 0000:00:02\.0: \[8086:3420\] type 01",
        r"pci 0000:00:03\.0: \[8086:3420\] type 01",
        r"ACPI: PM: \(supports S0 S5\)",
    ):
        assert re.search(expected, all_of_it), expected
    assert "pciehp" not in all_of_it, "no slot is hot-plug capable"
    moved = [text for text in texts if text.startswith("pci") and REASSIGNED.search(text)]
    assert moved == [], "addresses are left as they were placed"


@pytest.mark.boots(POWER_OFF)
def test_power_off_is_by_acpi() -> None:
    with Machine(config_of({**POWER_OFF, "cmdline": CMDLINE, "memory": "128M"})) as vm:
        vm.start()
        outcome = vm.wait(PATIENCE)
        assert outcome is not None, vm.console.text
        assert outcome.end is End.POWER_OFF, vm.console.text
