# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KVM: System, Vm, Vcpu, memslots, GSI routes, irqfds, ioeventfds, and the run loop."""

from __future__ import annotations

from .cpuid import add_timing, guest_cpuid, has_invariant_tsc, physical_bits, withhold
from .errors import (
    CpuFeatureMissing,
    KvmCallFailed,
    KvmCapabilityMissing,
    KvmError,
    KvmLimitReached,
    KvmMissing,
    KvmPermission,
    KvmUnavailable,
)
from .exits import (
    KICKED,
    EntryFailed,
    Exit,
    Halted,
    HandlerFailed,
    InternalError,
    Kicked,
    RunFailed,
    Shutdown,
    SystemEvent,
    UnexpectedExit,
)
from .memslots import Memslots
from .routing import GsiRouting
from .run_loop import run
from .system import System
from .vcpu import Vcpu
from .vm import Vm

__all__ = [
    "KICKED",
    "CpuFeatureMissing",
    "EntryFailed",
    "Exit",
    "GsiRouting",
    "Halted",
    "HandlerFailed",
    "InternalError",
    "Kicked",
    "KvmCallFailed",
    "KvmCapabilityMissing",
    "KvmError",
    "KvmLimitReached",
    "KvmMissing",
    "KvmPermission",
    "KvmUnavailable",
    "Memslots",
    "RunFailed",
    "Shutdown",
    "System",
    "SystemEvent",
    "UnexpectedExit",
    "Vcpu",
    "Vm",
    "add_timing",
    "guest_cpuid",
    "has_invariant_tsc",
    "physical_bits",
    "run",
    "withhold",
]
