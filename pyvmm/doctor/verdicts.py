# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whether a function of this host can be assigned: if not, why, and what to do about it."""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, NamedTuple

from pyvmm.vfio import HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, IommuGroup, held_by, no_group, no_iommu_mode

if TYPE_CHECKING:
    from .usage import HostUsage


class Answer(enum.Enum):
    """Whether it can be assigned."""

    NOW = "now"
    """VFIO would hand it out."""
    LATER = "later"
    """Something is to be done first, such as binding it to vfio-pci."""
    NO = "no"


class Verdict(NamedTuple):
    """The answer, with cause and cure, and what one should know all the same."""

    answer: Answer
    reason: str = ""
    cures: tuple[str, ...] = ()
    """One for each thing that is in the way; they make sense without the reason."""
    notes: tuple[str, ...] = ()
    for_guests: bool = True
    """False if it is for drivers in user space alone, whatever the answer."""

    @property
    def cure(self) -> str:
        """All cures in one line; "" if there is none."""
        return "; ".join(self.cures)


class _Obstacle(NamedTuple):
    reason: str
    cure: str = ""


def assignability(function: HostFunction, usage: HostUsage) -> Verdict:
    """Whether a function can be assigned; usage is what the host needs for itself."""
    obstacles = _obstacles(function, usage)
    if obstacles:
        cures = tuple(obstacle.cure for obstacle in obstacles if obstacle.cure)
        reasons = ", and ".join(obstacle.reason for obstacle in obstacles)
        return Verdict(Answer.NO, reasons, cures)
    verdict = _without_group(function) if function.group is None else _with_group(function)
    return verdict._replace(notes=_notes(function), for_guests=_has_iommu(function))


def why_not_openable(function: HostFunction) -> HostDeviceUnavailable | None:
    """What is to be done before VFIO would hand out a function of a group; None if nothing is.

    For what no guest ever gets, such as the host's chipset, it is why.
    Whether somebody else has it open is not looked at: whoever opens it waits, and is told.
    """
    platform = _platform(function)
    if platform is not None:
        return HostDeviceUnavailable(
            f"{function} can't be assigned: {platform.reason}",
            "choose a device; `pyvmm devices` lists them",
        )
    verdict = _first_to_be_done(function, IommuGroup.of(function))
    if verdict is None:
        return None
    cause = f"{function} can't be assigned yet: {verdict.reason}"
    return HostDeviceUnavailable(cause, verdict.cure)


# -- why not at all --


def _obstacles(function: HostFunction, usage: HostUsage) -> list[_Obstacle]:
    platform = _platform(function)
    if platform is not None:
        return [platform]
    found = [_needed(function, usage)]
    if function.group is None:
        found.append(_no_iommu(function))
    else:
        group = IommuGroup.of(function)
        found += [_reserved(group), _stuck_neighbours(function, group, usage), _forger(group)]
    return [obstacle for obstacle in found if obstacle]


def _platform(function: HostFunction) -> _Obstacle | None:
    """Of what is there for the other devices."""
    if function.is_bridge:
        return _Obstacle("it is a bridge, through which the host reaches other devices")
    if function.is_chipset:
        return _Obstacle("it is part of the host's chipset")
    return None


def _needed(function: HostFunction, usage: HostUsage) -> _Obstacle | None:
    losses = usage.losses([function])
    if not losses:
        return None
    return _Obstacle(
        f"it {' and '.join(loss.what for loss in losses)}",
        "move what the host needs elsewhere first",
    )


def _no_iommu(function: HostFunction) -> _Obstacle | None:
    if no_iommu_mode(function.root):
        return None
    return _Obstacle(*no_group(function.root))


def _reserved(group: IommuGroup) -> _Obstacle | None:
    kept = group.why_the_firmware_keeps_it()
    return _Obstacle(kept.cause, kept.cure) if kept else None


def _stuck_neighbours(
    function: HostFunction, group: IommuGroup, usage: HostUsage
) -> _Obstacle | None:
    """Members that would have to leave the host with it, and can't."""
    spoilers = {member.name for member in group.spoilers} - {function.bdf}
    losses = usage.losses([other for other in group.functions if other.bdf in spoilers])
    if not losses:
        return None
    return _Obstacle(
        f"it shares IOMMU group {group.number}: {' and '.join(map(str, losses))}",
        "put the device into another slot, or move what the host needs elsewhere",
    )


def _forger(group: IommuGroup) -> _Obstacle | None:
    """VFIO looks at it when it is to hand a device out, whatever driver has that now."""
    # Whoever only asks what is to be done first does without the kernel's back ends.
    from pyvmm.vfio.kernel.permission import REMAP_INTERRUPTS

    from .interrupts import refuses_forgers

    module = None if group.no_iommu else refuses_forgers(group.root)
    if module is None:
        return None
    return _Obstacle(
        "interrupts are not remapped, so that a device could forge any",
        REMAP_INTERRUPTS.format(module),
    )


# -- what is to be done first --


def _without_group(function: HostFunction) -> Verdict:
    reason = "there is no IOMMU for it: it is for drivers in user space alone, never for a guest"
    return _later(reason, f"pyvmm bind {function}")


def _later(reason: str, cure: str) -> Verdict:
    return Verdict(Answer.LATER, reason, (cure,))


def _with_group(function: HostFunction) -> Verdict:
    group = IommuGroup.of(function)
    return _first_to_be_done(function, group) or _no_access(function, group) or Verdict(Answer.NOW)


def _first_to_be_done(function: HostFunction, group: IommuGroup) -> Verdict | None:
    return _virtual_functions(function) or _unbound(function, group) or _not_viable(function, group)


def _virtual_functions(function: HostFunction) -> Verdict | None:
    count = len(function.virtual_functions)
    if not count or function.has_vfio_driver:
        return None
    return _later(
        f"it has virtual functions ({count}), which go if it changes its driver",
        f"assign those, or echo 0 > /sys/bus/pci/devices/{function}/sriov_numvfs",
    )


def _unbound(function: HostFunction, group: IommuGroup) -> Verdict | None:
    if function.has_vfio_driver:
        return None
    driver = function.driver
    others = [member for member in group.spoilers if member.name != function.bdf]
    bound = f"bound to {driver}" if driver else "bound to no driver"
    if others:
        names = ", ".join(f"{member.name} ({member.driver})" for member in others)
        shared = f"shares IOMMU group {group.number} with {names}"
        return _later(f"{bound}; {shared}", f"pyvmm bind --group {function}")
    return _later(bound, f"pyvmm bind {function}")


def _not_viable(function: HostFunction, group: IommuGroup) -> Verdict | None:
    spoilt = group.why_not_viable()
    if spoilt is None:
        return None
    return _later(spoilt.cause, f"pyvmm bind --group {function}")


def _no_access(function: HostFunction, group: IommuGroup) -> Verdict | None:
    """The files that it is opened by: there, ours to open, and not open already."""
    ways = [(group.device_path, _beside(function, "dev/vfio/vfio"))]
    if function.vfio_cdev:
        ways.append((function.vfio_cdev, _beside(function, "dev/iommu")))
    there = [way for way in ways if all(map(os.path.exists, way))]
    if not there:
        missing = next(path for path in ways[0] if not os.path.exists(path))
        cure = "look whether this is the host's /dev (a container has its own)"
        return _later(f"there is no {missing}", cure)
    closed = [path for way in there for path in way if not os.access(path, os.R_OK | os.W_OK)]
    if not any(set(way).isdisjoint(closed) for way in there):
        cure = f"sudo pyvmm bind --user $USER {function}"
        return _later(f"you may not open {closed[0]}", cure)
    for path, _ in there:
        holder = held_by(path, root=function.root)
        if holder:
            return _later(holder, "end that first")
    return None


def _beside(function: HostFunction, path: str) -> str:
    return os.path.join(function.root, path)


def _notes(function: HostFunction) -> tuple[str, ...]:
    notes = []
    if not function.reset_methods:
        notes.append("it has no reset of its own: what one user leaves in it the next one finds")
    if function.group is not None and not _has_iommu(function):
        notes.append("there is no IOMMU: it is for drivers in user space, never for a guest")
    physical = function.physical_function
    if physical and _is_vfios(physical, function.root):
        notes.append(f"its physical function {physical} is VFIO's: opening it takes a VF token")
    return tuple(notes)


def _has_iommu(function: HostFunction) -> bool:
    return function.group is not None and not IommuGroup.of(function).no_iommu


def _is_vfios(bdf: str, root: str) -> bool:
    try:
        return HostFunction(bdf, root=root).has_vfio_driver
    except HostDeviceUnavailable:
        return False  # it has just gone
