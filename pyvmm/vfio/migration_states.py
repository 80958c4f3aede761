# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The states of a device's migration, and which ways lead from one to another.

enum vfio_device_mig_state of <linux/vfio.h>, whose comments define the arcs, and how the kernel
puts them together to longer ways.
"""

from __future__ import annotations

from enum import IntEnum

from ..uapi import vfio


class MigrationState(IntEnum):
    """VFIO_DEVICE_STATE_*."""

    ERROR = vfio.VFIO_DEVICE_STATE_ERROR
    STOP = vfio.VFIO_DEVICE_STATE_STOP
    RUNNING = vfio.VFIO_DEVICE_STATE_RUNNING
    STOP_COPY = vfio.VFIO_DEVICE_STATE_STOP_COPY
    RESUMING = vfio.VFIO_DEVICE_STATE_RESUMING
    RUNNING_P2P = vfio.VFIO_DEVICE_STATE_RUNNING_P2P
    PRE_COPY = vfio.VFIO_DEVICE_STATE_PRE_COPY
    PRE_COPY_P2P = vfio.VFIO_DEVICE_STATE_PRE_COPY_P2P


# The states that share one stream of data out of the device. No way leads through them from
# outside: that would begin a stream, or end it, unasked.
SAVING = frozenset({MigrationState.PRE_COPY, MigrationState.PRE_COPY_P2P, MigrationState.STOP_COPY})

# From ERROR only a reset of the device leads away.
_ARCS: dict[MigrationState, tuple[MigrationState, ...]] = {
    MigrationState.STOP: (
        MigrationState.RUNNING_P2P,
        MigrationState.STOP_COPY,
        MigrationState.RESUMING,
    ),
    MigrationState.RUNNING: (MigrationState.RUNNING_P2P, MigrationState.PRE_COPY),
    MigrationState.RUNNING_P2P: (
        MigrationState.RUNNING,
        MigrationState.STOP,
        MigrationState.PRE_COPY_P2P,
    ),
    MigrationState.PRE_COPY: (MigrationState.RUNNING, MigrationState.PRE_COPY_P2P),
    MigrationState.PRE_COPY_P2P: (
        MigrationState.RUNNING_P2P,
        MigrationState.PRE_COPY,
        MigrationState.STOP_COPY,
    ),
    MigrationState.STOP_COPY: (MigrationState.STOP,),
    MigrationState.RESUMING: (MigrationState.STOP,),
    MigrationState.ERROR: (),
}


def states(flags: int) -> frozenset[MigrationState]:
    """The states of a device with these VFIO_MIGRATION_* flags."""
    there = {MigrationState.ERROR, MigrationState.RUNNING}
    if flags & vfio.VFIO_MIGRATION_STOP_COPY:
        there |= {MigrationState.STOP, MigrationState.STOP_COPY, MigrationState.RESUMING}
    if flags & vfio.VFIO_MIGRATION_P2P:
        there.add(MigrationState.RUNNING_P2P)
    if flags & vfio.VFIO_MIGRATION_PRE_COPY:
        there.add(MigrationState.PRE_COPY)
        if flags & vfio.VFIO_MIGRATION_P2P:
            there.add(MigrationState.PRE_COPY_P2P)
    return frozenset(there)


def path(
    start: MigrationState, target: MigrationState, flags: int
) -> tuple[MigrationState, ...] | None:
    """The states that the kernel goes through, target included; None if there is no way.

    Those that the device hasn't got are skipped, as if it were in two of them at once.
    """
    there = states(flags)
    if start not in there or target not in there:
        return None
    if target == start:
        return () if start != MigrationState.ERROR else None
    if start == MigrationState.STOP_COPY and target in SAVING:
        return None  # what was streamed already would be streamed again
    ways: list[tuple[MigrationState, ...]] = [(start,)]
    met = {start}
    for here in ways:  # which grows meanwhile: the shortest ways come first
        for state in _ARCS[here[-1]]:
            if state == target:
                return tuple(s for s in (*here[1:], state) if s in there)
            if state not in met and (state not in SAVING or {start, target} <= SAVING):
                met.add(state)
                ways.append((*here, state))
    return None


def begins_stream(before: MigrationState, after: MigrationState) -> bool:
    """Whether the way from one state to another begins a stream of data, in or out."""
    if after == before:
        return False
    return after == MigrationState.RESUMING or (after in SAVING and before not in SAVING)
