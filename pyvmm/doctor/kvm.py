# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KVM, for guests; drivers in user space go without."""

from __future__ import annotations

from pyvmm.kvm import KvmError, System
from pyvmm.kvm.host_cpu import runs_guests

from .._finding import Finding

_SUBJECT = "KVM"


def check(root: str) -> Finding:
    """Whether this user can make a VM."""
    try:
        with System(f"{root.rstrip('/')}/dev/kvm") as system, system.create_vm():
            pass
    except KvmError as error:
        return Finding(_SUBJECT, False, str(error), "or `pyvmm run --lab`", needed=False)
    if runs_guests(root):
        return Finding(_SUBJECT, True, "makes VMs")
    text = "makes VMs, but emulates their instructions: the processor shows neither vmx nor svm"
    return Finding(_SUBJECT, True, text, "it does for test guests; Linux takes `pyvmm run --lab`")
