# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which files a peer may pass to be memory or a region: those that it can't hold us up with.

Whatever is done with a file of a file system in user space (FUSE), fstat(2), pread(2), mmap(2),
has to wait for whom serves it, for ever if need be, and where not even a signal gets it out. So
before anything else is done with a file, we find out what it is without a call into its file
system: only memory takes seals (memfds, tmpfs, hugetlbfs); for others the kernel tells the mount
(/proc/self/fdinfo) and the mount's type (/proc/self/mountinfo), see proc_pid_fdinfo(5).
"""

from __future__ import annotations

import errno
import fcntl
import os

from .errors import DeviceError

# These wait for nobody but this host's own disks. An overlay may be one of anything, FUSE
# included, and anybody with a user namespace can mount it; so is none of network file systems.
_LOCAL = frozenset(
    ("btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "hugetlbfs", "ramfs", "tmpfs", "xfs")
)
_CURE = "pass a memfd, or a file in /dev/shm"


def check_local(fd: int, what: str) -> None:
    """Make sure that using a file doesn't wait for a peer; `what` is for errors.

    Files without a path (a VFIO device) are the kernel's own. Raises DeviceError (EINVAL, EBADF).
    """
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        return
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise DeviceError.answered(f"{what}: fcntl", e.errno) from None
    try:
        # With a path it begins with a slash, whatever its name.
        if os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:"):
            return
        with open(f"/proc/self/fdinfo/{fd}") as fdinfo, open("/proc/self/mountinfo") as mountinfo:
            kind = file_system(fdinfo.read(), mountinfo.read())
    except OSError as e:
        raise DeviceError.answered(f"{what}: looking at what it is", e.errno) from None
    if kind not in _LOCAL:
        where = f"on a file system ({kind}) that" if kind else "on no file system of ours, which"
        raise DeviceError.answered(f"{what}: a file {where} may never answer", errno.EINVAL, _CURE)


def file_system(fdinfo: str, mountinfo: str) -> str:
    """The type of the file system that a file is on; empty if it is not mounted here.

    That is so for pipes, sockets and the like, which belong to no path, and for files that are
    mounted in another mount namespace only, or nowhere any more.
    """
    mount = next((line.split()[1] for line in fdinfo.splitlines() if line[:7] == "mnt_id:"), "")
    for line in mountinfo.splitlines():
        # ID, parent, device, root, mount point, options, optional fields, "-", type, ...
        fields = line.split()
        if fields[0] == mount:
            return fields[fields.index("-", 6) + 1]
    return ""
