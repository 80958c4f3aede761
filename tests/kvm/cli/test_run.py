# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""`pyvmm run`: options, what it says, and the exit status for each way a run can end."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from tests.conftest import ROOT
from tests.kvm.cli.conftest import LIMIT, PYVMM, Start, read_until, run

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


def test_hello(vm: Vm) -> None:
    done = run("run", vm())
    assert done.out.startswith("Hello from the guest\n")
    assert (done.status, done.err) == (0, "")


def test_again_from_the_cache(vm: Vm) -> None:
    """The second run finds the config ready-made, and is the same."""
    config = vm(cmdline="a b")
    assert run("run", config) == run("run", config)


@pytest.mark.parametrize(
    ("cmdline", "status", "said"),
    [
        ("exit=1", 1, ""),
        ("exit=99", 99, ""),
        # From 100 on pyvmm has its own, so it says whose this one is.
        ("exit=200", 200, "pyvmm: the guest exited with code 200\n"),
        ("exit=114", 114, "pyvmm: the guest exited with code 114\n"),
        ("poweroff", 0, ""),
        ("crash=panic", 2, ""),
        ("crash=pvpanic", 121, "pyvmm: error: the guest has panicked\n"),
    ],
)
def test_how_the_guest_ends(vm: Vm, cmdline: str, status: int, said: str) -> None:
    done = run("run", vm(cmdline=cmdline))
    assert (done.status, done.err) == (status, said)


@pytest.mark.parametrize(("limit", "boots"), [({"on_reset": "exit"}, 1), ({"max_resets": 2}, 3)])
def test_a_reset_that_ends_it(vm: Vm, limit: dict[str, object], boots: int) -> None:
    done = run("run", vm(cmdline="reset=cf9", **limit))
    assert done.out.count("Hello from the guest\n") == boots
    assert done.err.startswith("pyvmm: the guest asked for a reset, by the reset control register")
    assert done.status == exit_codes.GUEST_RESET


def test_a_reset_that_does_not(vm: Vm) -> None:
    done = run("run", vm("reset", cmdline="reset=acpi times=2", devices=[{"model": "edu"}]))
    assert done.out.endswith("PASS\n")
    assert (done.status, done.err) == (0, "")


def test_a_reset_that_fails(vm: Vm, start: Start, guests: Path, tmp_path: Path) -> None:
    """The exit status is that of what is in the way."""
    image = str(shutil.copy(guests / "hello.elf", tmp_path / "guest.elf"))
    config = vm(kernel=image, cmdline="echo reset=cf9")
    pyvmm = start("run", config)
    read_until(pyvmm, "q quits")
    os.unlink(image)
    out, err = pyvmm.communicate("................q", timeout=LIMIT)
    assert "PASS" not in out
    error, why = err.splitlines()
    assert error.startswith(f"pyvmm: error: reading kernel {image}: open: ENOENT")
    assert why == "pyvmm: the guest asked for a reset, by the reset control register; that failed"
    assert pyvmm.returncode == exit_codes.BAD_IMAGE


def test_a_panic_that_does_not_end_it(vm: Vm) -> None:
    done = run("run", "-t3", vm(cmdline="crash=pvpanic", on_panic="continue"))
    assert done.out.endswith("pvpanic knows\n")
    assert done.err.startswith("pyvmm: the guest has panicked\npyvmm: error: the guest has not end")
    assert done.status == exit_codes.TIMEOUT


def test_a_crash(vm: Vm) -> None:
    done = run("run", vm(cmdline="crash=triple"))
    assert done.status == exit_codes.GUEST_CRASH
    first, *details = done.err.splitlines()
    assert first.startswith("pyvmm: error: vCPU 0 met a triple fault")
    assert any(line.startswith("code at RIP") for line in details)
    assert done.err.count("triple fault") == 1


def test_settings_of_one_run(vm: Vm) -> None:
    done = run(
        *("run", "--set", "cmdline=one two", "-s", "cpus=3", vm(cpus=2), "-s", "memory.size=32M")
    )
    assert "cpus: 3\n" in done.out
    assert "command line: one two\n" in done.out
    assert "memory: 32" in done.out
    assert done.status == 0


def test_a_device_for_one_run(vm: Vm, guests: Path) -> None:
    done = run("run", vm(), "-s", f"kernel={guests}/lspci.elf", "-s", "devices[0].model=edu")
    assert "1234:11e8" in done.out
    assert done.status == 0


@pytest.mark.parametrize("option", ["--timeout=3", "-t3", "--set=timeout=3"])
def test_a_time_limit(vm: Vm, option: str) -> None:
    done = run("run", option, vm(cmdline="crash=hang", timeout=1000))
    first, where = done.err.splitlines()
    assert first == "pyvmm: error: the guest has not ended within 3 s"
    assert where.startswith("vCPU 0 ")
    assert done.status == exit_codes.TIMEOUT


@pytest.mark.parametrize("seconds", ["0", "0.0009", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none(vm: Vm, seconds: str) -> None:
    done = run("run", f"--timeout={seconds}", vm())
    done.refused(exit_codes.CONFIG, "override: timeout: expected a number of seconds")


def test_verbose(vm: Vm) -> None:
    """Where the time went, what exited, how it ended."""
    done = run("run", "-v", vm(cmdline="crash=badport", devices=[{"model": "edu"}]))
    lines = done.err.splitlines()
    assert lines[0] == "pyvmm: start-up:"
    for phase in ("guest RAM", "KVM", "platform", "PCI", "vCPUs", "in all"):
        assert any(line.startswith(f"pyvmm:   {phase} ") and line.endswith(" ms") for line in lines)
    assert any(line.startswith("pyvmm:   exits ") for line in lines)
    assert any("unclaimed ports: " in line and "(answered with all-ones)" in line for line in lines)
    assert lines[-1] == "pyvmm: the guest exited with code 0"
    assert done.status == 0


def test_more_verbose(vm: Vm) -> None:
    """An error brings its traceback along."""
    done = run("run", "-vv", vm(kernel="/no/kernel"))
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("pyvmm: error: reading kernel /no/kernel")
    assert done.status == exit_codes.BAD_IMAGE


@pytest.mark.parametrize("process", [False, True])
def test_many_vectors_under_a_low_soft_limit(vm: Vm, process: bool) -> None:
    """64 vectors need as many eventfds, and the guest sets up all of them."""

    def limit() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, hard))

    config = vm("testdev", devices=[{"model": "testdev", "process": process}])
    done = run("run", config, preexec_fn=limit)
    assert (done.status, done.err) == (0, ""), done.out


def test_in_a_folder_that_was_removed(vm: Vm, tmp_path: Path) -> None:
    config = vm()
    (tmp_path / "removed").mkdir()
    command = ["sh", "-c", 'cd removed && rmdir ../removed && exec "$@"', "sh", *PYVMM]
    done = subprocess.run(
        [*command, "run", config, "--set", "cmdline=here"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert "command line: here\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
