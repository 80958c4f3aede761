# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""All that is known of a host's function, as plain values for JSON, and as a table's cells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain

from .functions import HostFunction, Resource
from .groups import IommuGroup
from .pci_ids import PciIds
from .usage import HostUsage
from .verdicts import Answer, Verdict, assignability

HEADINGS = ("Address", "Device", "Driver", "Group", "Reset", "Assignable")
"""Of the cells that Report.cells() gives."""


class Report:
    """What there is to tell of one function; gathered when it is made."""

    __slots__ = ("function", "ids", "usage", "verdict")

    def __init__(self, function: HostFunction, usage: HostUsage, ids: PciIds) -> None:
        self.function = function
        self.ids = ids
        self.usage = usage
        self.verdict: Verdict = assignability(function, usage)

    def cells(self) -> tuple[str, ...]:
        """A row for people, under HEADINGS; remedies() go below the table."""
        function = self.function
        name = self.ids.name(function.vendor, function.device, function.class_code)
        return (
            function.bdf,
            f"{name} [{function.vendor:04x}:{function.device:04x}]",
            function.driver or "-",
            "-" if function.group is None else str(function.group),
            " ".join(function.reset_methods) or "-",
            self._assignable(),
        )

    def json(self) -> dict[str, object]:
        """Everything, for programs. Numbers are numbers; what there isn't is None or empty."""
        function, ids, verdict = self.function, self.ids, self.verdict
        vendor, device = function.vendor, function.device
        subvendor, subdevice = function.subsystem_vendor, function.subsystem_device
        return {
            "address": function.bdf,
            "vendor": vendor,
            "device": device,
            "subsystem_vendor": subvendor,
            "subsystem_device": subdevice,
            "class": function.class_code,
            "revision": function.revision,
            "bridge": function.is_bridge,
            "names": {
                "vendor": ids.vendor(vendor) or None,
                "device": ids.device(vendor, device) or None,
                "subsystem": ids.subsystem(vendor, device, subvendor, subdevice) or None,
                "class": ids.kind(function.class_code),
            },
            "driver": function.driver,
            "driver_override": function.driver_override,
            "numa_node": function.numa_node,
            "reset_methods": list(function.reset_methods),
            "resources": [_resource(resource) for resource in function.resources],
            "physical_function": function.physical_function,
            "virtual_functions": list(function.virtual_functions),
            "iommu_group": self._group(),
            "vfio_cdev": function.vfio_cdev,
            "needed_for": [loss.what for loss in self.usage.losses([function])],
            "assignable": {
                "answer": verdict.answer.value,
                "reason": verdict.reason or None,
                "cure": verdict.cure or None,
                "notes": list(verdict.notes),
            },
        }

    def _assignable(self) -> str:
        verdict = self.verdict
        said = {Answer.NOW: "yes", Answer.LATER: "not yet", Answer.NO: "no"}[verdict.answer]
        text = f"{said}: {verdict.reason}" if verdict.reason else said
        cures = () if verdict.answer is Answer.NO else verdict.cures
        return "; ".join((text, *cures, *verdict.notes))

    def _group(self) -> dict[str, object] | None:
        if self.function.group is None:
            return None
        group = IommuGroup.of(self.function)
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


def reports(functions: list[HostFunction], *, root: str | os.PathLike[str] = "/") -> list[Report]:
    """A report on each of the functions."""
    usage, ids = HostUsage(root=root), PciIds.of_host(root=root)
    return [Report(function, usage, ids) for function in functions]


def remedies(reports: Iterable[Report]) -> list[str]:
    """What can be done for those that can't be assigned, each once: many have the same."""
    verdicts = (report.verdict for report in reports)
    cures = (v.cures for v in verdicts if v.answer is Answer.NO)
    return list(dict.fromkeys(chain.from_iterable(cures)))


def _resource(resource: Resource) -> dict[str, object]:
    return {
        "number": resource.number,
        "start": resource.range.start,
        "size": resource.range.size,
        "type": resource.kind,
        "prefetchable": resource.prefetchable,
    }
