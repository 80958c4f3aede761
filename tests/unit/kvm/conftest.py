# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A KVM of the tests' own making: a kvm_run page to write exits into, and recorded ioctls."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from pyvmm.kvm import KvmCallFailed
from pyvmm.uapi import kvm as uapi


class FakeVcpu:
    """What the run loop and the exits need of a Vcpu; state is kvm_run, as the kernel fills it."""

    fd = -1
    index = 0

    def __init__(self) -> None:
        self.memory = bytearray(3 * 4096)
        view = memoryview(self.memory)
        self.kvm_run = (view, view.cast("H"), view.cast("I"), view.cast("Q"))
        self.state = uapi.kvm_run.from_buffer(self.memory)
        self.entered = 0

    def enter(self) -> None:
        self.entered += 1

    def leave(self) -> None:
        self.entered -= 1

    def get_regs(self) -> uapi.kvm_regs:
        raise KvmCallFailed("reading the registers of vCPU 0", "KVM_GET_REGS", 5)

    def __str__(self) -> str:
        return "vCPU 0"


class Ioctls:
    """Stands in for ioctl(): notes request and argument, and fails or answers as told."""

    def __init__(self) -> None:
        self.made: list[tuple[int, Any]] = []
        self.errors: dict[int, int] = {}
        self.answers: dict[int, Callable[[Any], int]] = {}

    def __call__(self, fd: int, request: int, arg: Any = 0) -> int:
        if isinstance(arg, ctypes.Structure):
            self.made.append((request, type(arg).from_buffer_copy(arg)))
        else:
            self.made.append((request, arg))
        if request in self.errors:
            raise OSError(self.errors[request], "told to fail")
        answer = self.answers.get(request)
        return answer(arg) if answer else 0

    def of(self, request: int) -> list[Any]:
        return [arg for made, arg in self.made if made == request]


@pytest.fixture
def vcpu() -> FakeVcpu:
    return FakeVcpu()


@pytest.fixture
def ioctls(monkeypatch: pytest.MonkeyPatch) -> Ioctls:
    ioctls = Ioctls()
    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", ioctls)
    return ioctls
