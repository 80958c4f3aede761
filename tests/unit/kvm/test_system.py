# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Opening KVM where there is none, or one that won't do: cause and cure in a line."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyvmm.kvm import (
    KvmCallFailed,
    KvmCapabilityMissing,
    KvmMissing,
    KvmPermission,
    System,
)
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import Ioctls


@pytest.fixture
def device(tmp_path: Path, ioctls: Ioctls, monkeypatch: pytest.MonkeyPatch) -> str:
    """Something to open; the ioctls say that it is a KVM with every capability."""
    monkeypatch.setattr("pyvmm.kvm.system.ioctl", ioctls)
    ioctls.answers[uapi.KVM_GET_API_VERSION] = lambda _: 12
    ioctls.answers[uapi.KVM_CHECK_EXTENSION] = lambda _: 1
    path = tmp_path / "kvm"
    path.touch()
    return str(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(KvmMissing) as failed:
        System(str(tmp_path / "kvm"))
    text = str(failed.value)
    assert "kvm: ENOENT (No such file or directory); load the module" in text
    assert "\n" not in text


def refuse(error: int) -> Callable[..., int]:
    def open_(*_: Any, **__: Any) -> int:
        raise OSError(error, "told to fail")

    return open_


def fake_stat(mode: int, gid: int) -> Callable[[str], os.stat_result]:
    return lambda path: os.stat_result((stat.S_IFCHR | mode, 0, 0, 1, 0, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "gid", "cure"),
    [
        (0o660, 1, "sudo usermod -aG daemon"),
        (0o600, 0, 'sudo setfacl -m "u:$USER:rw" /dev/kvm'),
        (0o660, 0, "run as root"),
        (0o660, 0x7FFFFFFF, "run as root"),
    ],
)
def test_no_permission(mode: int, gid: int, cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse(errno.EACCES))
    monkeypatch.setattr(os, "stat", fake_stat(mode, gid))
    with pytest.raises(KvmPermission) as failed:
        System()
    monkeypatch.undo()
    assert "opening KVM: open /dev/kvm: EACCES (Permission denied); " in str(failed.value)
    assert cure in str(failed.value)


@pytest.mark.parametrize(
    ("error", "cure"), [(errno.ENODEV, "disabled in the firmware"), (errno.ENXIO, "module is gone")]
)
def test_no_virtualisation(error: int, cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse(error))
    with pytest.raises(KvmMissing, match=cure):
        System()


def test_not_kvm(no_leaks: None, tmp_path: Path) -> None:
    path = tmp_path / "kvm"
    path.touch()
    with pytest.raises(KvmMissing, match=r"KVM_GET_API_VERSION: ENOTTY .*kvm is not KVM"):
        System(str(path))


def test_another_version(no_leaks: None, device: str, ioctls: Ioctls) -> None:
    ioctls.answers[uapi.KVM_GET_API_VERSION] = lambda _: 11
    with pytest.raises(KvmMissing, match="version 11 of the KVM API"):
        System(device)


def test_capabilities_that_are_missing_are_named(
    no_leaks: None, device: str, ioctls: Ioctls
) -> None:
    missing = (uapi.KVM_CAP_IRQFD_RESAMPLE, uapi.KVM_CAP_READONLY_MEM)
    ioctls.answers[uapi.KVM_CHECK_EXTENSION] = lambda cap: int(cap not in missing)
    with pytest.raises(KvmCapabilityMissing) as failed:
        System(device)
    assert failed.value.capabilities == ("KVM_CAP_READONLY_MEM", "KVM_CAP_IRQFD_RESAMPLE")
    assert "KVM lacks KVM_CAP_READONLY_MEM, KVM_CAP_IRQFD_RESAMPLE; " in str(failed.value)


def test_a_vm_that_kvm_will_not_make(no_leaks: None, device: str, ioctls: Ioctls) -> None:
    ioctls.errors[uapi.KVM_CREATE_VM] = errno.EBUSY
    with System(device) as system, pytest.raises(KvmCallFailed, match="another hypervisor"):
        system.create_vm()


def test_a_signal_while_making_a_vm_is_no_failure(
    no_leaks: None, device: str, ioctls: Ioctls
) -> None:
    answers = iter([OSError(errno.EINTR, "a signal"), None])

    def create(_: Any) -> int:
        error = next(answers)
        if error:
            raise error
        return os.open(device, os.O_RDWR)

    ioctls.answers[uapi.KVM_CREATE_VM] = create
    with System(device) as system, system.create_vm() as vm:
        assert vm.fd >= 0
    assert len(ioctls.of(uapi.KVM_CREATE_VM)) == 2


@pytest.mark.parametrize("capable", [0, 1])
def test_the_deadline_timer_is_told_by_its_capability(
    device: str, ioctls: Ioctls, capable: int
) -> None:
    import ctypes

    def leaves(header: uapi.kvm_cpuid2) -> int:
        header.nent = 1
        at = ctypes.addressof(header) + ctypes.sizeof(header)
        uapi.kvm_cpuid_entry2.from_address(at).function = 1
        return 0

    ioctls.answers[uapi.KVM_GET_SUPPORTED_CPUID] = leaves
    with System(device) as system:
        ioctls.answers[uapi.KVM_CHECK_EXTENSION] = lambda _: capable
        (leaf,) = system.supported_cpuid()
    assert leaf.ecx == capable << 24
