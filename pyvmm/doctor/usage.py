# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostUsage: what this host needs its PCI functions for itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .consoles import console_needs
from .disks import disk_needs
from .errors import NeededByHost
from .routes import network_needs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.vfio.host import HostFunction


class Loss(NamedTuple):
    """What a function does for the host, which would lose that with it."""

    bdf: str
    what: str
    """As in "0000:01:00.0 holds the root file system": without the address."""

    def __str__(self) -> str:
        return f"{self.bdf} {self.what}"


class HostUsage:
    """A picture of what the host needs, taken once: mounts, routes and consoles."""

    __slots__ = ("needs",)

    def __init__(
        self, *, root: str | os.PathLike[str] = "/", environ: Mapping[str, str] = os.environ
    ) -> None:
        self.needs = (
            *disk_needs(root=root),
            *network_needs(root=root, environ=environ),
            *console_needs(root=root),
        )

    def losses(self, taken: Iterable[HostFunction]) -> list[Loss]:
        """What the host would lose if these functions were taken away, all at once."""
        addresses = [function.bdf for function in taken]
        lost = (
            Loss(bdf, need.what) for need in self.needs for bdf in sorted(need.lost_with(addresses))
        )
        return list(dict.fromkeys(lost))

    def check(self, taken: Sequence[HostFunction]) -> None:
        """Raises NeededByHost if the host would lose something with these functions: what it
        needs, or virtual functions. It is for bind(allow=...).
        """
        losses = self.losses(taken)
        if losses:
            raise NeededByHost(
                f"{'; '.join(map(str, losses))}: the host needs that",
                "move it elsewhere first, or take it with --force",
            )
        for function in taken:
            count = len(function.virtual_functions)
            if count:
                raise NeededByHost(
                    f"{function} has virtual functions ({count}), which would be lost",
                    f"switch them off first (echo 0 > {function.path}/sriov_numvfs), or take it "
                    "with --force",
                )
