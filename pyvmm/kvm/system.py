# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""System: /dev/kvm itself. What this host's KVM can do, and the door to a VM.

Source: the kernel's Documentation/virt/kvm/api.rst, "System ioctls".
"""

from __future__ import annotations

import os
from ctypes import sizeof
from errno import EACCES, EBUSY, EINTR, EMFILE, ENODEV, ENOENT, ENOMEM, ENOTTY, ENXIO, EPERM

from ..uapi import kvm as uapi
from ..uapi.ioctl import failure, ioctl
from .cpuid import MAX_CPUID_ENTRIES, TSC_DEADLINE_TIMER
from .errors import (
    KvmCallFailed,
    KvmCapabilityMissing,
    KvmError,
    KvmMissing,
    KvmPermission,
    KvmUnavailable,
    call,
    name_of,
)
from .flexible import flexible
from .vm import Vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..uapi.kvm import kvm_cpuid_entry2

REQUIRED = (
    uapi.KVM_CAP_USER_MEMORY,
    uapi.KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
    uapi.KVM_CAP_READONLY_MEM,
    uapi.KVM_CAP_SET_TSS_ADDR,
    uapi.KVM_CAP_SET_IDENTITY_MAP_ADDR,
    uapi.KVM_CAP_EXT_CPUID,
    uapi.KVM_CAP_MP_STATE,
    uapi.KVM_CAP_IRQCHIP,
    uapi.KVM_CAP_PIT2,
    uapi.KVM_CAP_IRQ_ROUTING,
    uapi.KVM_CAP_IRQFD,
    uapi.KVM_CAP_IRQFD_RESAMPLE,
    uapi.KVM_CAP_IOEVENTFD,
    uapi.KVM_CAP_SIGNAL_MSI,
    uapi.KVM_CAP_IMMEDIATE_EXIT,
)

# Far beyond what any kernel has.
_MAX_MSRS = 4096


class System:
    """An open /dev/kvm. A context manager; its VMs live on when it is closed."""

    def __init__(self, path: str = "/dev/kvm") -> None:
        """Open KVM and check that it is all there.

        Raises KvmUnavailable (KvmMissing, KvmPermission), KvmCapabilityMissing, KvmCallFailed.
        """
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _unavailable(path, error.errno or 0) from None
        try:
            self._check_version(path)
            self.require(*REQUIRED)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _check_version(self, path: str) -> None:
        try:
            version = ioctl(self.fd, uapi.KVM_GET_API_VERSION)
        except OSError as error:
            cure = f"{path} is not KVM" if error.errno == ENOTTY else ""
            raise KvmMissing(
                failure("asking for KVM's version", "KVM_GET_API_VERSION", error.errno or 0, cure)
            ) from None
        if version != uapi.KVM_API_VERSION:
            raise KvmMissing(
                f"{path} speaks version {version} of the KVM API; pyvmm, like every kernel since "
                f"2.6.22, speaks {uapi.KVM_API_VERSION}"
            )

    def check_extension(self, capability: int) -> int:
        """What KVM says to a KVM_CAP_* number: 0 for "no", else 1 or the capability's value."""
        return call(
            self.fd, uapi.KVM_CHECK_EXTENSION, capability, doing="asking for a KVM capability"
        )

    def require(self, *capabilities: int) -> None:
        """Raise KvmCapabilityMissing, with their names, if KVM lacks any of these KVM_CAP_*."""
        missing = [cap for cap in capabilities if not self.check_extension(cap)]
        if missing:
            raise KvmCapabilityMissing(*(name_of("KVM_CAP_", cap) for cap in missing))

    def supported_cpuid(self) -> list[kvm_cpuid_entry2]:
        """The CPUID leaves that KVM can show a guest which has the in-kernel irqchip.

        The caller may change what it gets. Raises KvmCallFailed.
        """
        header, entries = flexible(uapi.kvm_cpuid2, uapi.kvm_cpuid_entry2, MAX_CPUID_ENTRIES)
        header.nent = MAX_CPUID_ENTRIES
        call(
            self.fd,
            uapi.KVM_GET_SUPPORTED_CPUID,
            header,
            doing="asking which CPUID leaves KVM supports",
        )
        supported = entries[: header.nent]
        # The one feature that KVM tells by a capability and, in most kernels, not in the list.
        if self.check_extension(uapi.KVM_CAP_TSC_DEADLINE_TIMER):
            for entry in supported:
                if entry.function == 1:
                    entry.ecx |= TSC_DEADLINE_TIMER
        return supported

    def msr_indices(self) -> list[int]:
        """The model-specific registers that KVM lists as those to save. Raises KvmCallFailed."""
        size = sizeof(uapi.kvm_msr_list)
        memory = bytearray(size + 4 * _MAX_MSRS)
        header = uapi.kvm_msr_list.from_buffer(memory)
        header.nmsrs = _MAX_MSRS
        call(self.fd, uapi.KVM_GET_MSR_INDEX_LIST, header, doing="asking which MSRs KVM has")
        return memoryview(memory)[size : size + 4 * header.nmsrs].cast("I").tolist()

    def create_vm(self) -> Vm:
        """Make an empty VM. Raises KvmCallFailed."""
        while True:
            try:
                fd = call(
                    self.fd,
                    uapi.KVM_CREATE_VM,
                    uapi.KVM_X86_DEFAULT_VM,
                    doing="creating a VM",
                    cures={
                        ENOMEM: "the host is out of memory",
                        EBUSY: "another hypervisor, such as VirtualBox, has the processor",
                    },
                )
            except KvmCallFailed as error:
                # Taking all the locks of this process's memory map gives way to a signal.
                if error.errno != EINTR:
                    raise
            else:
                return Vm(self, fd)


def _unavailable(path: str, errno: int) -> KvmError:
    cures = {
        ENOENT: "load the module (modprobe kvm_intel or kvm_amd); it needs virtualisation enabled "
        f"in the firmware, nested virtualisation in a VM, --device {path} in a container",
        ENODEV: "virtualisation is disabled in the firmware, or this VM has none",
        ENXIO: "the kvm module is gone; load kvm_intel or kvm_amd",
    }
    doing, call = "opening KVM", f"open {path}"
    if errno == EMFILE:
        return KvmCallFailed(doing, call, errno, "raise the limit of open files (ulimit -n)")
    if errno in (EACCES, EPERM):
        return KvmPermission(failure(doing, call, errno, _permission_cure(path)))
    kind = KvmMissing if errno in cures else KvmUnavailable
    return kind(failure(doing, call, errno, cures.get(errno, "")))


def _permission_cure(path: str) -> str:
    """Join the group that may, where there is one; else have root give access."""
    import grp
    import stat

    try:
        status = os.stat(path)
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "run as root"
    if status.st_gid and status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP:
        return f'join its group, then log in again: sudo usermod -aG {group} "$USER"'
    return f'run as root, or have root give access: sudo setfacl -m "u:$USER:rw" {path}'
