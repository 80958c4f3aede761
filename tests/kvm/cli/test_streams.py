# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""stdin, stdout and stderr as they may come: empty, closed, read by nobody, or not there at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kvm.cli.conftest import LIMIT, PYVMM, run

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


def shell(script: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script that has pyvmm as "$@"."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *PYVMM, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_stdin_at_its_end(vm: Vm) -> None:
    done = run("run", vm())
    assert done.out.endswith("PASS\n")
    assert (done.status, done.err) == (0, "")


def test_stdin_from_a_pipe(vm: Vm) -> None:
    """It waits until the guest takes it; but for what its serial port held when it was set up."""
    text = "0123456789" * 100
    done = run("run", vm(cmdline="echo"), stdin=f"{'.' * 16}{text}q")
    assert f"{text}\necho: done\nPASS\n" in done.out
    assert done.status == 0


def test_stdout_into_head(vm: Vm) -> None:
    done = shell('"$@" | head -1', "run", vm())
    assert done.stdout == "Hello from the guest\n"
    assert "Traceback" not in done.stderr


def test_stdout_that_nobody_reads(vm: Vm) -> None:
    """Told in a line; the guest's end is the exit status all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PYVMM, "run", vm(cmdline="exit=3")],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    os.close(writer)
    assert done.stderr == (
        "pyvmm: writing serial output to stdout: write: EPIPE (Broken pipe); "
        "the rest of it is not written there\n"
    )
    assert done.returncode == 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_not_there(vm: Vm, closed: str) -> None:
    """No file of ours takes their place: the guest's output would go there, into its own RAM."""
    done = shell(f'"$@" {closed}', "run", vm(cmdline="exit=5"))
    assert done.returncode == 5
    assert done.stderr == ""
    if ">" not in closed.replace("2>", ""):
        assert done.stdout.startswith("Hello")


def test_stderr_that_nobody_reads(vm: Vm) -> None:
    """What can't be said is not said; the exit status is the same."""
    reader, writer = os.pipe()
    os.close(reader)
    for config, status in ((vm(cmdline="crash=triple"), 114), (vm(kernel="/no/kernel"), 105)):
        done = subprocess.run(
            [*PYVMM, "run", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writer,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == status
    os.close(writer)


def test_serial_output_into_a_file(vm: Vm, tmp_path: Path) -> None:
    done = run("run", vm(serial=str(tmp_path / "log")))
    assert (done.status, done.out, done.err) == (0, "", "")
    assert (tmp_path / "log").read_bytes().endswith(b"PASS\r\n")


def test_no_serial_output(vm: Vm) -> None:
    done = run("run", vm(serial="none"))
    assert (done.status, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("command", ["models", "schema", "--help"])
def test_output_of_other_commands_that_nobody_reads(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PYVMM, command],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141
