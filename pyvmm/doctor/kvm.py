# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KVM, for guests; drivers in user space go without."""

from __future__ import annotations

from pyvmm.kvm import KvmError, System

from .._finding import Finding

_SUBJECT = "KVM"


def check(root: str) -> Finding:
    """Whether this user can make a VM."""
    try:
        with System(f"{root.rstrip('/')}/dev/kvm") as system, system.create_vm():
            return Finding(_SUBJECT, True, "makes VMs")
    except KvmError as error:
        return Finding(_SUBJECT, False, str(error), "or `pyvmm run --lab`", needed=False)
