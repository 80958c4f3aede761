# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Taking PCI functions from the host's drivers for VFIO, and giving them back.

By driver_override, which names the one driver that may have a function, so that nothing else of
the same vendor and device changes hands (Documentation/ABI/testing/sysfs-bus-pci).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

from ..errors import HostDeviceUnavailable, VfioError
from . import access, sysfs
from .binding_record import Record, Records
from .functions import HostFunction
from .groups import IommuGroup, no_group
from .holders import held_by
from .iommu import no_iommu_mode
from .modules import VFIO_DRIVER, driver_path, require_vfio_pci

_BRIDGE = 0x06


class Change(NamedTuple):
    """What became of one function."""

    function: HostFunction
    before: str | None
    """The driver it had; None if it had none."""
    after: str | None
    note: str = ""
    """What is still to be done before it can be used; "" if nothing is."""


def bind(
    addresses: Iterable[str],
    *,
    whole_group: bool = False,
    user: str | None = None,
    allow: Callable[[Sequence[HostFunction]], None] = lambda _: None,
    root: str | os.PathLike[str] = "/",
) -> list[Change]:
    """Give functions to vfio-pci, and the files that VFIO opens them by to a user.

    whole_group takes along the other functions of their IOMMU groups. All or nothing: if one
    can't be had, those before it go back. What VFIO has already stays there.

    allow is asked, before anything changes, about those that are to be taken, and raises what is
    to be raised then: nothing here knows which of them hold the host's own disk, network or
    console, but pyvmm.doctor does. Raises HostDeviceUnavailable.
    """
    host = os.fspath(root)
    uid = None if user is None else access.user_id(user)
    records = Records(root=host)
    with records.locked(), ExitStack() as hand_back:
        chosen = _chosen(addresses, whole_group, host)
        taken = [function for function in chosen if not function.has_vfio_driver]
        if taken:
            allow(taken)
        for function in taken:
            _check_possible(function)
        before = {function: function.driver for function in chosen}
        if taken:
            require_vfio_pci(root=host)
        done: list[tuple[HostFunction, Record]] = []
        try:
            for function in taken:
                record = _former(function, records)
                done.append((function, record))
                _take(function, record, records)
            if whole_group:
                for function in chosen:
                    IommuGroup.of(function).check_viable()
            if uid is not None:
                for function in chosen:
                    access.give(function, uid, hand_back)
        except BaseException as error:
            _undo(done, records, error)
            raise
        hand_back.pop_all()
    return [
        Change(function, before[function], function.driver, _note(function)) for function in chosen
    ]


def unbind(
    addresses: Iterable[str],
    *,
    whole_group: bool = False,
    root: str | os.PathLike[str] = "/",
) -> list[Change]:
    """Give functions back to the drivers that they had before bind().

    Those that were VFIO's without bind() go to the driver that the kernel chooses. Raises
    HostDeviceUnavailable, before anything is changed if one of them is in use.
    """
    host = os.fspath(root)
    records = Records(root=host)
    changes, failed = [], []
    with records.locked():
        chosen = _chosen(addresses, whole_group, host)
        for function in chosen:
            _check_unused(function)
        users = access.owners(chosen)
        for function in chosen:
            before = function.driver
            try:
                _restore(function, records)
            except VfioError as error:
                failed.append(str(error))
            except BaseException:  # a signal; half-way is no place to stay
                with suppress(VfioError):
                    _restore(function, records)
                raise
            changes.append(Change(function, before, function.driver))
        access.withdraw(users, host)
    if failed:
        raise HostDeviceUnavailable("; ".join(failed))
    return changes


def _chosen(addresses: Iterable[str], whole_group: bool, root: str) -> list[HostFunction]:
    chosen: dict[HostFunction, None] = {}
    for address in addresses:
        function = HostFunction(address, root=root)
        chosen[function] = None
        if whole_group and function.group is not None:
            others = IommuGroup.of(function).functions
            chosen |= {f: None for f in others if f.class_code >> 16 != _BRIDGE}
    return list(chosen)


# -- what is refused --


def _check_possible(function: HostFunction) -> None:
    if function.is_bridge:
        raise HostDeviceUnavailable(
            f"{function} is a bridge, which VFIO doesn't take", "bind the devices behind it"
        )
    if function.is_chipset:
        raise HostDeviceUnavailable(
            f"{function} is part of the host's chipset, which can't be given away",
            "choose a device",
        )
    if function.group is None and not no_iommu_mode(function.root):
        reason, cure = no_group(function.root)
        raise HostDeviceUnavailable(
            f"{function} has no IOMMU group, so VFIO doesn't take it: {reason}", cure
        )


def _check_unused(function: HostFunction) -> None:
    """Nor may any other of its group: no driver of the host's is given a device beside that.

    The kernel would wait, for as long as it takes, until whoever has it open closes it.
    """
    if not function.has_vfio_driver or function.group is None:
        return
    group = IommuGroup.of(function)
    others = [other for other in group.functions if other != function]
    files = [(function, group.device_path), *((f, f.vfio_cdev) for f in (function, *others))]
    for user, path in files:
        holder = held_by(path, root=function.root) if path else None
        if holder:
            whose = "" if user == function else f", of the same IOMMU group as {function},"
            raise HostDeviceUnavailable(f"{user}{whose} is in use: {holder}", "end that first")


# -- what is done --

_BY_KERNEL = Record(0, 0, None, None)
"""For a function of which nothing was noted."""


def _settled(function: HostFunction) -> bool:
    """Whether it is not VFIO's, nor on the way from or to it, where a kill may have left it."""
    return (
        function.driver is not None
        and not function.has_vfio_driver
        and function.driver_override != VFIO_DRIVER
    )


def _former(function: HostFunction, records: Records) -> Record:
    """What a function was before VFIO had it, or began to."""
    found = None if _settled(function) else records.find(function)
    return found or Record.of(function)


def _take(function: HostFunction, record: Record, records: Records) -> None:
    """Note what it was, and make it VFIO's."""
    doing = f"giving {function} to {VFIO_DRIVER}"
    records.save(function, record)
    sysfs.store(os.path.join(function.path, "driver_override"), VFIO_DRIVER, doing)
    _release(function, doing)
    _probe(function, doing)
    if function.driver != VFIO_DRIVER:
        raise HostDeviceUnavailable(
            f"{doing}: the driver refused it", "the kernel's log says why: dmesg | tail"
        )


def _restore(function: HostFunction, records: Records) -> None:
    """Give back what is VFIO's, or was left half-way, and forget what was noted of it."""
    record = None if _settled(function) else records.find(function)
    if record or function.has_vfio_driver:
        _give_back(function, record or _BY_KERNEL)
    records.forget(function)


def _give_back(function: HostFunction, record: Record) -> None:
    """Restore what was before, from wherever in between it is."""
    doing = f"giving {function} back to {record.driver or 'the host'}"
    if function.has_vfio_driver:
        _release(function, doing)
    override = os.path.join(function.path, "driver_override")
    if function.driver_override != record.driver_override:
        sysfs.store(override, record.driver_override or "\n", doing)
    if function.driver is not None:
        return
    if record is _BY_KERNEL:
        _probe(function, doing)
    elif record.driver is not None:
        driver = driver_path(record.driver, root=function.root)
        if os.path.isdir(driver):
            sysfs.store(os.path.join(driver, "bind"), function.bdf, doing)
        else:
            _probe(function, doing)  # it has been unloaded; another may do
        if function.driver is None:
            raise HostDeviceUnavailable(
                f"{doing}: it took no driver",
                f"load the driver (modprobe {record.driver}), and see dmesg | tail",
            )


def _release(function: HostFunction, doing: str) -> None:
    if function.driver is not None:
        sysfs.store(os.path.join(function.path, "driver/unbind"), function.bdf, doing)


def _probe(function: HostFunction, doing: str) -> None:
    probe = os.path.join(function.root, "sys/bus/pci/drivers_probe")
    sysfs.store(probe, function.bdf, doing)


def _undo(
    done: Sequence[tuple[HostFunction, Record]], records: Records, error: BaseException
) -> None:
    """Give everything back, last first. Raises HostDeviceUnavailable for what doesn't go back."""
    left = []
    for function, record in reversed(done):
        try:
            _give_back(function, record)
            records.forget(function)
        except VfioError as another:
            left.append(str(another))
    if left:
        raise HostDeviceUnavailable(f"{error}; undoing it failed: {'; '.join(left)}") from None


def _note(function: HostFunction) -> str:
    spoilt = IommuGroup.of(function).why_not_viable() if function.group is not None else None
    return str(spoilt) if spoilt else ""
