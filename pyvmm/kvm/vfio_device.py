# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VfioDevice: tells KVM which VFIO devices a VM uses, so that it heeds their DMA and caching.

Source: the kernel's Documentation/virt/kvm/devices/vfio.rst.
"""

from __future__ import annotations

import ctypes
import os
import threading
from errno import EBADF, EEXIST, EINVAL, ENODEV, ENOENT

from ..uapi import kvm as uapi
from .errors import call

_CURES = {
    EBADF: "the file is closed",
    EINVAL: "the file is no VFIO group or device, or one that has no IOMMU yet",
    EEXIST: "KVM has it already",
    ENOENT: "KVM hasn't got it",
}


class VfioDevice:
    """KVM's VFIO pseudo device, of which a VM has at most one. A context manager."""

    def __init__(self, vm_fd: int) -> None:
        """Raises KvmCallFailed."""
        device = uapi.kvm_create_device(type=uapi.KVM_DEV_TYPE_VFIO)
        call(
            vm_fd,
            uapi.KVM_CREATE_DEVICE,
            device,
            doing="creating KVM's VFIO device",
            cures={ENODEV: "this kernel is built without VFIO support (CONFIG_KVM_VFIO)"},
        )
        self._fd = device.fd
        self._users: dict[int, int] = {}  # of each file
        self._lock = threading.Lock()

    def __enter__(self) -> VfioDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent. KVM forgets what it was told, at the latest when the VM is gone."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def add(self, fd: int, name: str) -> None:
        """Tell KVM of a VFIO group, or a device opened by its cdev. name is for messages.

        Devices of one group have the same file: KVM is told once, and each removes it again.
        """
        with self._lock:
            if fd not in self._users:
                self._set(uapi.KVM_DEV_VFIO_FILE_ADD, fd, f"telling KVM of {name}")
            self._users[fd] = self._users.get(fd, 0) + 1

    def remove(self, fd: int, name: str) -> None:
        """The VM uses the group or device no more."""
        with self._lock:
            users = self._users.pop(fd, 1) - 1
            if users:
                self._users[fd] = users
            else:
                self._set(uapi.KVM_DEV_VFIO_FILE_DEL, fd, f"telling KVM that {name} is gone")

    def _set(self, attr: int, fd: int, doing: str) -> None:
        value = ctypes.c_int32(fd)
        request = uapi.kvm_device_attr(
            group=uapi.KVM_DEV_VFIO_FILE, attr=attr, addr=ctypes.addressof(value)
        )
        call(self._fd, uapi.KVM_SET_DEVICE_ATTR, request, doing=doing, cures=_CURES)
