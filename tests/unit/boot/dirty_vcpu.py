# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A vCPU that was running before: what an entry leaves as it was shows."""

from __future__ import annotations

from pyvmm.uapi.kvm import kvm_regs, kvm_sregs


class DirtyVcpu:
    """A vCPU that was running: every register has some other value."""

    def __init__(self) -> None:
        size = len(bytes(kvm_sregs()))
        self.sregs = kvm_sregs.from_buffer_copy(b"\xa5" * size)
        self.regs = kvm_regs()

    def get_sregs(self) -> kvm_sregs:
        return kvm_sregs.from_buffer_copy(self.sregs)

    def set_sregs(self, sregs: kvm_sregs) -> None:
        self.sregs = sregs

    def set_regs(self, regs: kvm_regs) -> None:
        self.regs = regs
