# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machines that QEMU doesn't begin with: it is told why, and what to do about it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pyvmm.lab import host
from pyvmm.lab.assets import Assets
from pyvmm.lab.command_line import MachineOptions
from pyvmm.lab.emulator import Emulator
from pyvmm.lab.errors import LabEnded, LabError, QemuRefused
from pyvmm.lab.host import check_memory
from pyvmm.lab.machine import QemuMachine

QEMU = "qemu-system-x86_64"
GIB = 1 << 30


def started(tmp_path: Path, script: str) -> LabEnded:
    """The error of a machine whose QEMU is that script."""
    emulator = Emulator(("sh", "-c", script, "sh"), {}, (10, 0, 0), unpacked=False)
    nowhere = tmp_path / "nowhere"
    assets = Assets(emulator, nowhere, nowhere, "6.12", nowhere, nowhere, frozenset())
    with pytest.raises(LabEnded) as caught:
        QemuMachine(assets, MachineOptions())
    return caught.value


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (
            "-device intel-iommu,intremap=on,foo=3: Property 'intel-iommu.foo' not found",
            "`qemu-system-x86_64 -device intel-iommu,help` lists what it takes",
        ),
        (
            "cannot set up guest memory 'pc.ram': Cannot allocate memory",
            "take less --memory, or raise the limit on it (ulimit -v)",
        ),
        (
            "-accel tcg: allocate 536870912 bytes for jit buffer: Cannot allocate memory",
            "QEMU needs more memory than it may have: raise its limit (ulimit -v)",
        ),
        ("something else", ""),
    ],
)
def test_its_last_line_is_the_cause(tmp_path: Path, said: str, cure: str) -> None:
    lines = shlex.join(["warning: before it", f"{QEMU}: {said}"])
    error = started(tmp_path, f"printf '%s\\n' {lines} >&2; exit 1")
    assert isinstance(error, QemuRefused)
    assert error.cause == f"QEMU doesn't start: {said}"
    assert error.cure == cure
    assert error.details == "QEMU: warning: before it"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 1", "QEMU: ended with status 1"),
        ("echo crashed >&2; kill -BUS $$", "QEMU: crashed\nQEMU: ended by SIGBUS"),
    ],
)
def test_one_that_gives_no_reason_may_start_another_time(
    tmp_path: Path, script: str, told: str
) -> None:
    error = started(tmp_path, script)
    assert not isinstance(error, QemuRefused)
    assert error.details == told


def test_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal:        4194304 kB\nMemFree:          1048576 kB\nMemAvailable:    2097152 kB\n"
        "SwapTotal:       1048576 kB\nHugePages_Total:       0\n"
    )
    monkeypatch.setattr(host, "_MEMINFO", meminfo)
    check_memory(5 * GIB)
    with pytest.raises(LabError) as caught:
        check_memory(6 * GIB)
    assert str(caught.value) == (
        "a lab with 6.0 GiB of memory: this host has 5.0 GiB, and 2.0 GiB available; take less "
        "--memory"
    )
