# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""All that is known of the host's PCI functions, with the verdict on each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from pyvmm.vfio import HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, IommuGroup, PciIds, Resource

from .usage import HostUsage
from .verdicts import Answer, Verdict, assignability


class Report(NamedTuple):
    """What there is to tell of one function."""

    function: HostFunction
    name: str
    """What people call the device."""
    verdict: Verdict
    values: dict[str, object]
    """Everything, for JSON. Numbers are numbers; what there isn't is None or empty."""


def reports(functions: list[HostFunction], *, root: str | os.PathLike[str] = "/") -> list[Report]:
    """A report on each of the functions, but for those that are unplugged meanwhile."""
    usage, ids = HostUsage(root=root), PciIds.of_host(root=root)
    found = []
    for function in functions:
        with suppress(HostDeviceUnavailable):  # its group has gone, and so it will
            report = _report(function, usage, ids)
            if os.path.isdir(function.path):
                found.append(report)
    return found


def remedies(reports: Iterable[Report]) -> list[str]:
    """What can be done for those that can't be assigned, each once: many have the same."""
    verdicts = (report.verdict for report in reports)
    cures = (v.cures for v in verdicts if v.answer is Answer.NO)
    return list(dict.fromkeys(chain.from_iterable(cures)))


def _report(function: HostFunction, usage: HostUsage, ids: PciIds) -> Report:
    verdict = assignability(function, usage)
    vendor, device, kind = function.vendor, function.device, function.class_code
    subvendor, subdevice = function.subsystem_vendor, function.subsystem_device
    values: dict[str, object] = {
        "address": function.bdf,
        "vendor": vendor,
        "device": device,
        "subsystem_vendor": subvendor,
        "subsystem_device": subdevice,
        "class": kind,
        "revision": function.revision,
        "bridge": function.is_bridge,
        "names": {
            "vendor": ids.vendor(vendor) or None,
            "device": ids.device(vendor, device) or None,
            "subsystem": ids.subsystem(vendor, device, subvendor, subdevice) or None,
            "class": ids.kind(kind),
        },
        "driver": function.driver,
        "driver_override": function.driver_override,
        "numa_node": function.numa_node,
        "reset_methods": list(function.reset_methods),
        "resources": [_resource(resource) for resource in function.resources],
        "physical_function": function.physical_function,
        "virtual_functions": list(function.virtual_functions),
        "iommu_group": None if function.group is None else _group(IommuGroup.of(function)),
        "vfio_cdev": function.vfio_cdev,
        "needed_for": [loss.what for loss in usage.losses([function])],
        "assignable": {
            "answer": verdict.answer.value,
            "reason": verdict.reason or None,
            "cure": verdict.cure or None,
            "notes": list(verdict.notes),
        },
    }
    return Report(function, ids.name(vendor, device, kind), verdict, values)


def _resource(resource: Resource) -> dict[str, object]:
    return {
        "number": resource.number,
        "start": resource.range.start,
        "size": resource.range.size,
        "type": resource.kind,
        "prefetchable": resource.prefetchable,
    }


def _group(group: IommuGroup) -> dict[str, object]:
    return {
        "number": group.number,
        "type": group.type,
        "no_iommu": group.no_iommu,
        "viable": group.viable,
        "members": [{"name": m.name, "driver": m.driver} for m in group.members],
        "reserved_regions": [
            {"start": r.range.start, "end": r.range.end, "type": r.kind}
            for r in group.reserved_regions
        ],
        "path": group.device_path,
    }
