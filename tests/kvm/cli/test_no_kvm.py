# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Hosts without KVM, or without permission for it: made with a mount namespace of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from pyvmm.cli.main import main
from pyvmm.uapi import ioctl
from pyvmm.uapi.kvm import KVM_CAP_IRQFD_RESAMPLE, KVM_CHECK_EXTENSION
from tests.kvm.cli.conftest import LIMIT, PYVMM, Done

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


@cache
def unshare() -> list[str]:
    """The command for a mount namespace; skips the test where there can't be one."""
    command = ["unshare", "--mount"]
    if os.geteuid():
        command.append("--map-root-user")
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("no unshare or no setpriv: apt-get install util-linux")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces: allow user namespaces, or run as root")
    return command


def run_in(preparation: str, *command: str | Path) -> Done:
    done = subprocess.run(
        [*unshare(), "sh", "-ec", f'{preparation}; exec "$@"', "sh", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_no_dev_kvm(vm: Vm) -> None:
    done = run_in("mount -t tmpfs none /dev", *PYVMM, "run", vm())
    done.refused(exit_codes.KVM_MISSING, "open /dev/kvm: ENOENT", "load the module (modprobe kvm_")


def test_something_else_in_its_place(vm: Vm) -> None:
    done = run_in("mount --bind /dev/null /dev/kvm", *PYVMM, "run", vm())
    done.refused(exit_codes.KVM_MISSING, "ENOTTY", "/dev/kvm is not KVM")


def test_no_permission(vm: Vm, tmp_path: Path) -> None:
    """Nobody may open it, and root is nobody without its capabilities."""
    forbidden = tmp_path / "kvm"
    forbidden.touch(0)
    done = run_in(
        f"mount --bind '{forbidden}' /dev/kvm",
        *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
        *(*PYVMM, "run", vm()),
    )
    done.refused(exit_codes.KVM_PERMISSION, "open /dev/kvm: EACCES", "run as root")


def test_devices_are_not_left_behind(vm: Vm) -> None:
    """Their processes were started before KVM was looked for."""
    config = vm(devices=[{"model": "edu", "process": True}])
    done = run_in("mount -t tmpfs none /dev", *PYVMM, "run", config)
    done.refused(exit_codes.KVM_MISSING)


def test_a_kvm_that_lacks_something(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def without(fd: int, request: int, arg: ioctl.Argument = 0) -> int:
        if request == KVM_CHECK_EXTENSION and arg == KVM_CAP_IRQFD_RESAMPLE:
            return 0
        return ioctl.ioctl(fd, request, arg)

    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", without)
    status = main(["run", str(vm(serial="none"))])
    out, err = capfd.readouterr()
    Done(status, out, err).refused(
        exit_codes.KVM_CAPABILITY, "KVM lacks KVM_CAP_IRQFD_RESAMPLE; ", "Linux 4.11 or newer"
    )
