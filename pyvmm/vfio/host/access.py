# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Giving an unprivileged user the files that a function is opened by.

The group and the device cdev are for one user, who gets to own them; when the function leaves
VFIO the kernel removes both. /dev/iommu is for all: there the user is put on the access control
list, as logind does for sound and display.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from contextlib import ExitStack, suppress

from ...uapi.ioctl import failure
from ..errors import HostDeviceUnavailable
from . import sysfs
from .functions import HostFunction
from .groups import IommuGroup

_ACL = "system.posix_acl_access"
# include/uapi/linux/posix_acl_xattr.h: a version, then entries of tag, permissions and ID.
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_ACL_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_READ_WRITE = 6

Entry = tuple[int, int, int]


def user_id(name: str) -> int:
    """The ID of a user, given by name or number. Raises HostDeviceUnavailable."""
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if name.isascii() and name.isdigit() and int(name) < _NO_ID:
            return int(name)
    raise HostDeviceUnavailable(f"there is no user {name!r} here", "`getent passwd` lists them")


def give(function: HostFunction, uid: int, undo: ExitStack) -> None:
    """Let a user open a function that is VFIO's; undo gets what gives the files back.

    Raises HostDeviceUnavailable.
    """
    group = IommuGroup.of(function)
    if group.no_iommu:
        raise HostDeviceUnavailable(
            f"{function} has no IOMMU: VFIO gives it to root alone (CAP_SYS_RAWIO), since its DMA "
            "reaches all memory",
            "run the driver as root, or switch the IOMMU on",
        )
    _settle()
    cdev = function.vfio_cdev
    for path in filter(None, (group.device_path, cdev)):
        if path == cdev or os.path.exists(path):
            _own(path, uid, undo)
    if cdev is not None:
        undo.callback(withdraw, (uid,), function.root)
        _admit(_iommu(function.root), uid)


def owners(functions: Iterable[HostFunction]) -> frozenset[int]:
    """The users who own a device cdev of one of the functions."""
    return _owners(filter(None, (function.vfio_cdev for function in functions)))


def withdraw(users: Iterable[int], root: str) -> None:
    """Take those of the users off /dev/iommu's list who own no device cdev any more.

    Others may be on it by somebody else's doing.
    """
    path = _iommu(root)
    cdevs = os.path.join(root, "dev/vfio/devices")
    gone = {*users} - _owners(os.path.join(cdevs, name) for name in sysfs.listing(cdevs))
    entries = _read(path)
    left = [entry for entry in entries if entry[0] != _USER or entry[2] not in gone]
    if left != entries:
        with suppress(OSError):
            if any(tag == _USER for tag, _, _ in left):
                _write(path, left)
            else:
                os.removexattr(path, _ACL)


def _owners(paths: Iterable[str]) -> frozenset[int]:
    found = set()
    for path in paths:
        with suppress(OSError):
            found.add(os.stat(path).st_uid)
    return frozenset(found)


def _own(path: str, uid: int, undo: ExitStack) -> None:
    try:
        former = os.stat(path).st_uid
        os.chown(path, uid, -1)
    except OSError as error:
        cure = "do it as root (sudo)" if error.errno == errno.EPERM else ""
        raise HostDeviceUnavailable(
            failure(f"giving {path} to user {uid}", "chown", error.errno or 0), cure
        ) from None
    undo.callback(_disown, path, former)


def _disown(path: str, former: int) -> None:
    with suppress(OSError):  # it is gone if VFIO has no function of the group any more
        os.chown(path, former, -1)


def _admit(path: str, uid: int) -> None:
    """Put a user on a file's access control list, with reading and writing."""
    try:
        entries = _read(path) or _minimal(path)
        kept = [entry for entry in entries if entry[::2] != (_USER, uid) and entry[0] != _MASK]
        # The kernel wants them by tag, then by ID.
        _write(path, sorted((*kept, (_USER, _READ_WRITE, uid), (_MASK, _READ_WRITE, _NO_ID))))
    except OSError as error:
        raise HostDeviceUnavailable(
            failure(f"letting user {uid} open {path}", f"setxattr {_ACL}", error.errno or 0)
        ) from None


def _read(path: str) -> list[Entry]:
    """The entries of a file's list; none if it has only a mode."""
    try:
        data = os.getxattr(path, _ACL)
    except OSError:
        return []
    return [(tag, perm, who) for tag, perm, who in _ENTRY.iter_unpack(data[_VERSION.size :])]


def _write(path: str, entries: list[Entry]) -> None:
    packed = b"".join(_ENTRY.pack(tag, perm, who) for tag, perm, who in entries)
    os.setxattr(path, _ACL, _VERSION.pack(_ACL_VERSION) + packed)


def _minimal(path: str) -> list[Entry]:
    """The list that says the same as a file's mode."""
    mode = os.stat(path).st_mode
    return [
        (_USER_OBJ, mode >> 6 & 7, _NO_ID),
        (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    ]


def _iommu(root: str) -> str:
    return os.path.join(root, "dev/iommu")


def _settle() -> None:
    """Wait until udev has done what it does to new device files, so that we come last."""
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["udevadm", "settle", "--timeout=5"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
