# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The same guest images under QEMU, with its own edu device, and under pyvmm, with our model."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pyvmm.config import parse
from pyvmm.machine import Machine
from tests.interop.guests.conftest import DEBUG_EXIT, TIMEOUT, command_line, serial_lines

pytestmark = [pytest.mark.interop, pytest.mark.kvm]

OWN_PROCESS: dict[str, object] = {"model": "edu", "process": True, "slot": "01.0"}


class Ran(NamedTuple):
    """A guest that has ended: its own exit code, and what it said."""

    code: int | None
    lines: list[str]


RunGuest = Callable[..., Ran]


@pytest.fixture
def under_qemu(guests: Path, tmp_path: Path) -> RunGuest:
    def run(guest: str, cmdline: str = "", *options: str) -> Ran:
        serial = tmp_path / "serial"  # a file: QEMU's edu prints to stdout
        image = guests / f"{guest}.elf"
        done = subprocess.run(
            [
                *command_line(image, cmdline, *DEBUG_EXIT, "-device", "edu,addr=01.0", *options),
                *("-serial", f"file:{serial}"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        # The debug-exit device makes an odd status of a code.
        code = done.returncode >> 1 if done.returncode & 1 else None
        return Ran(code, serial_lines(serial.read_bytes()))

    return run


@pytest.fixture
def under_pyvmm(guests: Path, no_leaks: None) -> RunGuest:
    def run(guest: str, cmdline: str = "", **keys: object) -> Ran:
        config = {"kernel": str(guests / f"{guest}.elf"), "cmdline": cmdline, **keys}
        with Machine(parse({"devices": [OWN_PROCESS], **config})) as vm:
            vm.start()
            outcome = vm.wait(TIMEOUT)
            assert outcome is not None
            assert not outcome.device_errors
            return Ran(outcome.code, serial_lines(vm.console.text.encode()))

    return run


def test_edu_reports_agree_line_for_line(under_qemu: RunGuest, under_pyvmm: RunGuest) -> None:
    theirs, ours = under_qemu("edu"), under_pyvmm("edu")
    assert ours.lines == theirs.lines
    assert ours.code == theirs.code == 0
    assert ours.lines[-1] == "PASS"
    assert len(ours.lines) > 80


def without_memory(lines: list[str]) -> list[str]:
    """How much memory is left to the guest is the firmware's business."""
    return [line for line in lines if not line.startswith("memory: ")]


@pytest.mark.parametrize(
    ("cmdline", "code"),
    [("a b=c", 0), ("exit=7", 7), ("crash=panic", 2), ("poweroff", None), ("crash=badport", 0)],
)
def test_hello_says_the_same(
    under_qemu: RunGuest, under_pyvmm: RunGuest, cmdline: str, code: int | None
) -> None:
    theirs = under_qemu("hello", cmdline, "-smp", "2")
    ours = under_pyvmm("hello", cmdline, cpus=2)
    assert without_memory(ours.lines) == without_memory(theirs.lines)
    assert "cpus: 2" in ours.lines
    assert ours.code == theirs.code == code


def function(lines: list[str], address: str) -> list[str]:
    """What lspci says of one function, without where its BARs and its interrupt line are."""
    start = next(number for number, line in enumerate(lines) if line.startswith(address))
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith("    "):
            break
        block.append(re.sub(r", line \d+| at 0x[0-9a-f]+(?=, size)", "", line))
    return block


def test_lspci_finds_the_same_device(under_qemu: RunGuest, under_pyvmm: RunGuest) -> None:
    theirs, ours = under_qemu("lspci"), under_pyvmm("lspci")
    assert ours.code == theirs.code == 0
    assert function(ours.lines, "00:01.0") == function(theirs.lines, "00:01.0")
    # And the host bridge is q35's, which drivers know.
    assert ours.lines[0] == theirs.lines[0]
    assert ours.lines[0].startswith("00:00.0 8086:29c0 class 060000")
