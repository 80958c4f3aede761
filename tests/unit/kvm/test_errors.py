# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A failed ioctl is told by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pyvmm.kvm
from pyvmm.kvm import KvmCallFailed
from pyvmm.kvm.errors import call, name_of
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import Ioctls

ROOM = Path(pyvmm.kvm.__file__).parent


def used(pattern: str) -> list[str]:
    """The constants of kvm.h that the room's code uses and whose names match pattern."""
    text = "".join(path.read_text() for path in ROOM.glob("*.py"))
    return sorted(set(re.findall(rf"uapi\.({pattern})\b", text)))


def test_every_ioctl_and_capability_in_use_has_its_own_name() -> None:
    names = used("KVM_(?!CPUID)[A-Z0-9_]+")  # leaves are as large as ioctls' numbers
    ioctls = [name for name in names if getattr(uapi, name) >= 0xAE00]
    capabilities = used("KVM_CAP_[A-Z0-9_]+")
    assert len(ioctls) > 25
    assert len(capabilities) > 10
    assert [name_of("KVM_", getattr(uapi, name)) for name in ioctls] == ioctls
    assert [name_of("KVM_CAP_", getattr(uapi, name)) for name in capabilities] == capabilities


def test_a_number_without_a_name() -> None:
    assert name_of("KVM_CAP_", 99999) == "KVM_CAP_0x1869f"


def test_what_failed_why_and_what_to_do(ioctls: Ioctls) -> None:
    ioctls.errors[uapi.KVM_CREATE_IRQCHIP] = 17
    with pytest.raises(KvmCallFailed) as failed:
        call(3, uapi.KVM_CREATE_IRQCHIP, doing="creating it", cures={17: "do nothing"})
    assert str(failed.value) == "creating it: KVM_CREATE_IRQCHIP: EEXIST (File exists); do nothing"
    assert (failed.value.call, failed.value.errno) == ("KVM_CREATE_IRQCHIP", 17)
    with pytest.raises(KvmCallFailed, match=r"EEXIST \(File exists\)$"):
        call(3, uapi.KVM_CREATE_IRQCHIP, doing="creating it")
