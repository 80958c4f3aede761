# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong with KVM, and the one way its ioctls are called so that it is told.

What a guest does wrong is no error but a value: see exits.py.
"""

from __future__ import annotations

from ..uapi import kvm as uapi
from ..uapi.ioctl import failure, ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..uapi.ioctl import Argument


class KvmError(Exception):
    """Base of the kvm room's errors."""


class KvmUnavailable(KvmError):
    """There is no KVM to use."""


class KvmMissing(KvmUnavailable):
    """KVM is absent, or something else is at its path."""


class KvmPermission(KvmUnavailable):
    """KVM is there, but this user may not open it."""


class KvmCapabilityMissing(KvmError):
    """The host's KVM lacks what pyvmm can't do without; capabilities holds the names."""

    def __init__(self, *capabilities: str) -> None:
        super().__init__(
            f"this host's KVM lacks {', '.join(capabilities)}; pyvmm needs an x86-64 host "
            "with Linux 4.11 or newer"
        )
        self.capabilities = capabilities


class CpuFeatureMissing(KvmError):
    """Processor features that a guest has to have, and can't; features holds their names."""

    def __init__(self, *features: str) -> None:
        super().__init__(
            f"this host's KVM can't give a guest {', '.join(features)}; take it out of "
            "cpu.features, or run the VM on a host whose processors have it"
        )
        self.features = features


class KvmLimitReached(KvmError):
    """KVM has a fixed number of something, and all of it is in use."""


class KvmCallFailed(KvmError):
    """A KVM ioctl failed. call is its name, errno the number."""

    def __init__(self, doing: str, call: str, errno: int, cure: str = "") -> None:
        super().__init__(failure(doing, call, errno, cure))
        self.call = call
        self.errno = errno


def call(
    fd: int,
    request: int,
    arg: Argument = 0,
    *,
    doing: str,
    cures: Mapping[int, str] | None = None,
) -> int:
    """Call a KVM ioctl; doing says what for, cures what to do about an errno.

    Raises KvmCallFailed.
    """
    try:
        return ioctl(fd, request, arg)
    except OSError as error:
        errno = error.errno or 0
        cure = cures.get(errno, "") if cures else ""
        raise KvmCallFailed(doing, name_of("KVM_", request), errno, cure) from None


def name_of(prefix: str, value: int) -> str:
    """The kernel's name for a number: the first constant of kvm.h with this prefix and value."""
    for name, number in vars(uapi).items():
        if number == value and name.startswith(prefix):
            return name
    return f"{prefix}{value:#x}"
