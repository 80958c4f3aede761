# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is mounted where, as /proc/PID/mountinfo tells (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyvmm.vfio.host import sysfs


class Mount(NamedTuple):
    """One line of mountinfo."""

    device: str
    """major:minor; of no block device where the major is 0."""
    point: str
    kind: str
    """The file system's type."""
    source: str
    options: tuple[str, ...]
    """The file system's own options."""

    def option(self, name: str) -> str | None:
        """The value of the option `name`; None if it isn't given."""
        prefix = f"{name}="
        return next((o[len(prefix) :] for o in self.options if o.startswith(prefix)), None)


Mounts = tuple[Mount, ...]


def mounts(*, root: str | os.PathLike[str] = "/") -> tuple[Mounts, ...]:
    """The mounts as the first process and as this one see them.

    Only the first sees what lies beneath our root, where that was changed (chroot, switch_root);
    only ours may be readable.
    """
    found = []
    for process in ("1", "self"):
        text = sysfs.read_text(os.path.join(os.fspath(root), "proc", process, "mountinfo"))
        if text:
            found.append(tuple(filter(None, map(_parse, text.splitlines()))))
    return tuple(found)


def mount_of(path: str, table: Mounts) -> Mount | None:
    """The mount that path, which is absolute, lies in. The last one made covers the others."""
    best = None
    for mount in table:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def overlay_layers(mount: Mount) -> tuple[str, ...]:
    """The directories that an overlay file system is made of, as its mounter knew them."""
    layers: list[str] = []
    for option in mount.options:
        name, _, value = option.partition("=")
        if name == "lowerdir":
            layers += filter(None, _split_at_colons(value))
        elif name in ("upperdir", "lowerdir+", "datadir+"):
            layers.append(value)
    return tuple(layers)


def _split_at_colons(text: str) -> list[str]:
    """Overlay's list of directories: colons of a name have a backslash before them."""
    mark = "\0"
    return [part.replace(mark, ":") for part in text.replace("\\:", mark).split(":")]


def _parse(line: str) -> Mount | None:
    before, separator, after = line.partition(" - ")
    fields, rest = before.split(), after.split(" ")
    if not separator or len(fields) < 5 or len(rest) < 3:
        return None
    options = tuple(map(unescaped, rest[2].split(",")))
    return Mount(fields[2], unescaped(fields[4]), rest[0], unescaped(rest[1]), options)


def unescaped(text: str) -> str:
    """Undo the kernel's octal escapes of white space and backslashes."""
    head, *tails = text.split("\\")
    for tail in tails:
        code = tail[:3]
        if len(code) == 3 and all(digit in "01234567" for digit in code):
            head += chr(int(code, 8)) + tail[3:]
        else:
            head += "\\" + tail
    return head
