# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""hello under QEMU: what it says, and each way to end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import QEMU

from .conftest import DEBUG_EXIT, TIMEOUT, Run, Running, command_line

pytestmark = pytest.mark.interop

RunGuest = Callable[..., Run]


@pytest.mark.parametrize("cpus", [1, 3])
def test_says_what_it_sees(run: RunGuest, cpus: int) -> None:
    result = run("hello", "some words here=1", "-smp", str(cpus))
    assert result.code == 0
    first, count, memory, arguments, verdict = result.lines
    assert first == "Hello from the guest"
    assert count == f"cpus: {cpus}"
    found = re.fullmatch(r"memory: (\d+) KiB", memory)
    assert found
    assert 127 << 10 < int(found[1]) <= 128 << 10
    assert arguments == "command line: some words here=1"
    assert verdict == "PASS"


def test_finds_cpus_without_acpi(run: RunGuest) -> None:
    """By the MP table, then."""
    result = run("hello", "", "-M", "q35,acpi=off", "-smp", "3")
    assert "cpus: 3" in result.lines


def test_exit_code(run: RunGuest) -> None:
    assert run("hello", "exit=5").code == 5
    assert run("hello", "exit=0x2a").code == 42


def test_panics_over_a_bad_option(run: RunGuest) -> None:
    result = run("hello", "exit=five")
    assert result.lines[-1] == "panic: option exit: not a number"
    assert result.code == 2


@pytest.mark.parametrize(
    ("way", "vector", "rest"),
    [("ud", 6, ""), ("pf", 14, ", cr2 0x654321000"), ("print", 14, ", cr2 0x654321000")],
)
def test_exceptions_are_reported(run: RunGuest, way: str, vector: int, rest: str) -> None:
    result = run("hello", f"crash={way}")
    line = result.lines[-1]
    assert line.startswith(f"exception {vector}: error code 0x0, rip 0x10")
    assert rest in line
    assert result.code == 32 + vector


def test_triple_fault_resets(run: RunGuest) -> None:
    result = run("hello", "crash=triple")
    assert result.lines[-1] == "command line: crash=triple"
    assert result.status == 0, "with -no-reboot QEMU ends, and not by the debug-exit port"


def test_panic(run: RunGuest) -> None:
    result = run("hello", "crash=panic")
    assert result.lines[-1] == "panic: as asked for"
    assert result.code == 2


def test_pvpanic(start: Callable[..., Running]) -> None:
    running = start("hello", "crash=pvpanic", "-device", "pvpanic", "-action", "panic=pause")
    assert running.monitor.wait_event("GUEST_PANICKED") == {"action": "pause"}


def test_unclaimed_ports(run: RunGuest) -> None:
    result = run("hello", "crash=badport")
    assert result.lines[-1] == "PASS"
    assert len(result.lines) == 8


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("poweroff", "guest-shutdown"),
        ("exit=3", "guest-shutdown"),  # there is no debug-exit port, so it falls back to that
        ("reset=i8042", "guest-reset"),
        ("reset=cf9", "guest-reset"),
        ("reset=acpi", "guest-reset"),
    ],
)
def test_power(start: Callable[..., Running], option: str, reason: str) -> None:
    running = start("hello", option)
    assert running.monitor.wait_event("SHUTDOWN") == {"guest": True, "reason": reason}


def test_echo(guests: Path) -> None:
    command = [*command_line(guests / "hello.elf", "echo", *DEBUG_EXIT), "-serial", "stdio"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            for line in iter(process.stdout.readline, b""):
                if line.startswith(b"echo:"):
                    break
            # One by one: each echo shows that its interrupt came.
            for byte in b"Abc\x1b42":
                process.stdin.write(bytes([byte]))
                assert process.stdout.read(1) == bytes([byte])
            output, _ = process.communicate(b"many at onceq", timeout=TIMEOUT)
        finally:
            process.kill()
    assert output == b"many at once\r\necho: done\r\nPASS\r\n"
    assert process.returncode == 1


def test_firstbyte(guests: Path) -> None:
    """A flat image as firmware: one byte, then the end."""
    done = subprocess.run(
        [
            *(*QEMU, "-M", "q35", "-accel", "tcg", "-nodefaults"),
            *("-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-bios", str(guests / "firstbyte.bin"), *DEBUG_EXIT),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stdout == b"H"
    assert done.returncode == 1
