# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A busybox that needs no libraries, for the initramfs: the host's, or Debian's, unpacked."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from .apt import Apt, unpack
from .errors import NoSuchPackage
from .names import BUSYBOX

if TYPE_CHECKING:
    from .cache import Cache
    from .progress import Progress

_SUITES = ("bookworm", "trixie")
_PACKAGE = "busybox-static"

_EM_X86_64 = 62
_PT_INTERP = 3


def find_busybox(cache: Cache) -> Path | None:
    """The host's busybox if it is static, or Debian's in the cache."""
    host = shutil.which("busybox")
    if host is not None and is_static(Path(host)):
        return Path(host)
    folder = cache.find(BUSYBOX, BUSYBOX)
    return None if folder is None else folder / "busybox"


def fetch_busybox(cache: Cache, progress: Progress) -> Path:
    """Unpack Debian's into the cache; hold its lock. Raises DebianError."""
    failures = []
    for suite in _SUITES:
        try:
            apt = Apt(cache, [suite])
            version = apt.show(_PACKAGE, progress)["version"]
            with cache.staging() as staged, cache.staging() as whole:
                unpack(apt.download([_PACKAGE], staged, progress), whole)
                found = next(path for path in whole.glob("**/bin/busybox") if path.is_file())
                found.rename(staged / "busybox")
                return cache.publish(staged, BUSYBOX, BUSYBOX, version) / "busybox"
        except NoSuchPackage as failure:
            failures.append(failure)
    raise failures[-1]


def is_static(path: Path) -> bool:
    """Whether a file is a program for x86-64 that asks for no dynamic loader."""
    try:
        with path.open("rb") as file:
            header = file.read(64)
            if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
                return False
            (machine,) = struct.unpack_from("<H", header, 18)
            (offset,) = struct.unpack_from("<Q", header, 32)
            size, count = struct.unpack_from("<HH", header, 54)
            file.seek(offset)
            headers = file.read(size * count)
    except OSError:
        return False
    if machine != _EM_X86_64 or size < 4 or len(headers) < size * count:
        return False
    kinds = (struct.unpack_from("<I", headers, at)[0] for at in range(0, len(headers), size))
    return _PT_INTERP not in kinds
