# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm bind`` and ``pyvmm unbind``: which driver has a PCI device of this host."""

from __future__ import annotations

from .failures import say
from .signals import StopSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pyvmm.vfio.host import Change, HostFunction


def bind_command(options: argparse.Namespace) -> int:
    from pyvmm.vfio.host import bind

    with StopSignals():
        changes = bind(
            options.address,
            whole_group=options.group,
            user=options.user,
            allow=_anything if options.force else _what_the_host_can_spare,
        )
    _show(changes)
    return 0


def unbind_command(options: argparse.Namespace) -> int:
    from pyvmm.vfio.host import unbind

    with StopSignals():
        changes = unbind(options.address, whole_group=options.group)
    _show(changes)
    return 0


def _anything(taken: Sequence[HostFunction]) -> None:
    """As --force has it."""


def _what_the_host_can_spare(taken: Sequence[HostFunction]) -> None:
    from pyvmm.doctor import HostUsage

    HostUsage().check(taken)


def _show(changes: list[Change]) -> None:
    for change in changes:
        before, after = change.before or "no driver", change.after or "no driver"
        if before == after:
            print(f"{change.function}: {after}, as before")
        else:
            print(f"{change.function}: {before} -> {after}")
    for note in dict.fromkeys(change.note for change in changes if change.note):
        say(note)
