# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Plugs devices into the lab's root ports, with the disks and networks that they need."""

from __future__ import annotations

import itertools
import mmap
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeGuard

from pyvmm.uapi.ioctl import failure

from .command_line import (
    SATA_DISK,
    SATA_ID,
    SATA_SLOT,
    SLOTS,
    bridge_id,
    slot_address,
    slot_id,
)
from .defaults import DISK_SIZE
from .devices import DISK_BLOCK, KINDS, Bridge, DeviceSpec, Needs, disk_size, each
from .errors import LabError, QmpError

if TYPE_CHECKING:
    from .agent import Agent
    from .devices import Item
    from .qmp import Qmp

_UNDO_SECONDS = 20.0
_WORDS = {"on": True, "true": True, "off": False, "false": False}
_NO_SUCH_MODEL = "is not a valid device model name"
_NO_SUCH_PROPERTY = re.compile(r"Property '.*' not found")


@dataclass
class Plugged:
    """What was plugged into one slot. addresses are the lab kernel's, in the order of specs."""

    slot: int
    item: Item
    ids: tuple[str, ...]
    addresses: tuple[str, ...] = ()


class Slots:
    """The root ports, and what is in them."""

    def __init__(self, qmp: Qmp, agent: Agent, bridges: int, *, sata: bool = False) -> None:
        """bridges of the machine's slots have one; sata: one has a SATA controller."""
        self._bridges = bridges
        self._sata = sata
        self.plugged: list[Plugged] = []
        self._qmp = qmp
        self._agent = agent
        self._numbers = itertools.count()
        # By a device's id: the commands that take away what it was given.
        self._backends: dict[str, list[tuple[str, dict[str, str]]]] = {}

    def insert(self, item: Item) -> Plugged:
        """Plug it in, and leave its addresses to bind(). Raises LabError."""
        slot = self._free_slot(item)
        if _is_sata(item):
            ids = [self._give_sata_disk(item)]
        elif isinstance(item, Bridge):
            ids = self._insert_behind(bridge_id(slot), item)
        else:
            ids = [self._add(item, {"bus": slot_id(slot)})]
        plugged = Plugged(slot, item, tuple(ids))
        self.plugged.append(plugged)
        return plugged

    def _insert_behind(self, bus: str, bridge: Bridge) -> list[str]:
        """Plug its members in, all or none."""
        ids: list[str] = []
        try:
            for position, spec in enumerate(bridge.members, 1):
                ids.append(self._add(spec, {"bus": bus, "addr": f"{position:#x}"}))
        except LabError:
            for name in ids:
                with suppress(LabError):  # what it was about is told
                    self._remove(name, _UNDO_SECONDS)
            raise
        return ids

    def _free_slot(self, item: Item) -> int:
        """Where it can go: bridges and SATA controllers are in their slots from the start."""
        if _is_sata(item):
            if not self._sata or any(plugged.slot == SATA_SLOT for plugged in self.plugged):
                raise LabError(f"there is no slot for {item}", "a lab has one, from its start on")
            return SATA_SLOT
        first = SLOTS - self._bridges
        slots = range(first, SLOTS) if isinstance(item, Bridge) else range(self._sata, first)
        taken = {plugged.slot for plugged in self.plugged}
        slot = next((slot for slot in slots if slot not in taken), None)
        if slot is None and isinstance(item, Bridge):
            raise LabError(f"there is no bridge left for {item}", "have it from the lab's start on")
        if slot is None:
            raise LabError(
                f"there is no root port left for {item}: the lab has {SLOTS}",
                "put several behind one bridge(...), or unplug one",
            )
        return slot

    def bind(self, plugged: Plugged) -> None:
        """Have the devices given to vfio-pci. Raises LabError."""
        count = len(list(each([plugged.item])))
        address = slot_address(plugged.slot)
        plugged.addresses = self._agent.bind(slot_id(plugged.slot), address, count)

    def remove(self, plugged: Plugged, seconds: float) -> None:
        """Ask the lab's kernel to let go of what is in the slot, and wait until it has."""
        for spec in each([plugged.item]):
            if spec.kind == "nvme" and spec.properties.get("msix-exclusive-bar", "off") != "off":
                raise LabError(f"unplugging {spec}: QEMU would not survive it")
        for name in plugged.ids:
            self._remove(name, seconds)
        self.plugged.remove(plugged)

    def _remove(self, name: str, seconds: float) -> None:
        self._qmp.execute("device_del", {"id": name})
        self._qmp.event("DEVICE_DELETED", lambda data: data.get("device") == name, seconds=seconds)
        self._drop_backends(name)

    def _drop_backends(self, name: str) -> None:
        for command, arguments in self._backends.pop(name, ()):
            self._qmp.execute(command, arguments)

    def _add(self, spec: DeviceSpec, place: dict[str, str]) -> str:
        name = f"{re.sub('[^a-z0-9]+', '-', spec.kind)}{next(self._numbers)}"
        given = dict(spec.properties)
        if spec.has_disk:
            given.pop("size", None)
        arguments: dict[str, Any] = {"driver": spec.model.model, "id": name, **place}
        if spec.model.needs is Needs.DISK and spec.has_disk:
            arguments["drive"] = self._add_disk(spec, name, disk_size(spec))
            if spec.kind == "nvme":
                arguments["serial"] = f"LAB{name.upper()}"
        elif spec.model.needs is Needs.NETWORK and "netdev" not in given:
            arguments["netdev"] = f"{name}-net"
            self._qmp.execute("netdev_add", {"type": "user", "id": arguments["netdev"]})
            self._backends[name] = [("netdev_del", {"id": arguments["netdev"]})]
        properties = {**spec.model.properties, **given}
        types = self._types(spec) if properties else {}
        arguments.update((key, _value(types.get(key), text)) for key, text in properties.items())
        try:
            self._qmp.execute("device_add", arguments)
        except QmpError as error:
            self._drop_backends(name)
            if _NO_SUCH_MODEL in error.cause:
                raise self._unknown(spec.kind) from None
            if _NO_SUCH_PROPERTY.search(error.cause):
                listed = f"`qemu-system-x86_64 -device {spec.model.model},help` lists those"
                raise QmpError(error.cause, f"{listed} that there are") from None
            raise
        if spec.model.needs is Needs.USB_DISK and spec.has_disk:
            drive = self._add_disk(spec, name, disk_size(spec))
            disk = {"driver": "usb-storage", "bus": f"{name}.0", "drive": drive}
            self._qmp.execute("device_add", disk)
        return name

    def _types(self, spec: DeviceSpec) -> dict[str, str]:
        """What QEMU has each property be: not all that are "on" or "off" are bool."""
        try:
            listed = self._qmp.execute("device-list-properties", {"typename": spec.model.model})
        except QmpError:
            return {}  # what is wrong with it, the device itself will tell
        return {each["name"]: each["type"] for each in listed}

    def _give_sata_disk(self, spec: DeviceSpec) -> str:
        """Have the controller's disk, behind which there is nothing yet, hold data."""
        if spec.properties:
            raise LabError(f"lab device {spec}: its controller is as it is", "take a plain ahci")
        data = self._add_disk(spec, f"{SATA_ID}-data", DISK_SIZE)
        disk = {"driver": "raw", "node-name": SATA_DISK, "file": data}
        self._qmp.execute("blockdev-reopen", {"options": [disk]})
        return SATA_ID

    def _unknown(self, kind: str) -> LabError:
        """For a kind that neither the lab nor this QEMU knows."""
        listed = self._qmp.execute("qom-list-types", {"implements": "pci-device"})
        near = get_close_matches(kind, [*KINDS, *(type_["name"] for type_ in listed)], n=1)
        return LabError(
            f"there is no device {kind!r}: the lab knows {', '.join(KINDS)}, and all others of "
            "QEMU's by QEMU's names",
            f"did you mean {near[0]!r}?" if near else "",
        )

    def _add_disk(self, spec: DeviceSpec, name: str, size: int) -> str:
        """A disk in memory, whose blocks tell their numbers; as new in each lab."""
        disk = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            _resize(disk, size, spec)
            with mmap.mmap(disk, min(size, DISK_SIZE)) as view:
                for block in range(len(view) // DISK_BLOCK):
                    text = b"LABNVME block %08d\n" % block
                    view[block * DISK_BLOCK : block * DISK_BLOCK + len(text)] = text
            added = self._qmp.execute("add-fd", fds=(disk,))
        finally:
            os.close(disk)
        node = f"{name}-disk"
        file = {"driver": "file", "filename": f"/dev/fdset/{added['fdset-id']}"}
        self._qmp.execute("blockdev-add", {"driver": "raw", "node-name": node, "file": file})
        self._backends[name] = [("blockdev-del", {"node-name": node})]
        return node


def _is_sata(item: Item) -> TypeGuard[DeviceSpec]:
    return isinstance(item, DeviceSpec) and item.model.needs is Needs.SATA_DISK


def _resize(disk: int, size: int, spec: DeviceSpec) -> None:
    try:
        os.ftruncate(disk, size)
    except OSError as error:
        doing = f"lab device {spec}: making its disk"
        told = failure(doing, "ftruncate", error.errno or 0)
        raise LabError(told, "take a smaller size") from None


def _value(kind: str | None, text: str) -> str | bool | int:
    """A property as JSON has it; kind is what QEMU calls its type."""
    if kind is not None and kind != "bool" and not kind.startswith(("int", "uint", "size")):
        return text
    if text in _WORDS:
        return _WORDS[text]
    try:
        return int(text, 0)
    except ValueError:
        return text
