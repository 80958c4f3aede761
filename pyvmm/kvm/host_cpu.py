# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the host's processor has for KVM, by /proc/cpuinfo."""

from __future__ import annotations

_FLAGS = ("vmx", "svm")


def runs_guests(root: str = "/") -> bool:
    """Whether the processor itself can run guests (VT-x or AMD-V), or it can't be told.

    A KVM that makes VMs on one that doesn't emulates each of a guest's instructions: good enough
    for small guests, but Linux takes hours, or meets an instruction that KVM can't emulate.
    """
    try:
        with open(f"{root.rstrip('/')}/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), None)
    except OSError:
        return True
    return flags is None or any(flag in flags for flag in _FLAGS)
