# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which devices a lab is to have: what people write, parsed and checked.

nvme,e1000e,edu                     three devices, each in an IOMMU group of its own
nvme,nvme                           two of a kind
nvme:msix-exclusive-bar=on          with properties of QEMU's device model
nvme:size=1G                        with a larger disk
bridge(nvme+edu),igb                two that share a group, and one that doesn't
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from .defaults import DISK_SIZE
from .errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# As in a VM's config: config/notation.py, which is none of the lab's business.
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,18}) ?(?:([KMGTkmgt])(?:iB)?)?")
_WORD = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_NAME = re.compile(_WORD)
_PROPERTY = re.compile(rf"(?P<name>{_WORD})=(?P<value>[^,:+()\s]+)")
# What stands between commas that no parenthesis encloses.
_ITEM = re.compile(r"(?:[^,()]|\([^()]*\))+")
# What the lab itself says of a device.
_OURS = ("addr", "bus", "driver", "id")
_BRIDGE = re.compile(r"bridge\((?P<members>.*)\)")


DISK_BLOCK = 4096
_MOST_DISK = 16 << 40
"""Bytes; as many blocks as have numbers of 32 bits."""


class Needs(Enum):
    """What a device model has to be given at the host's end."""

    NOTHING = auto()
    DISK = auto()
    USB_DISK = auto()
    """At its own bus."""
    SATA_DISK = auto()
    """Its bus takes none while the machine runs: both are there from the start."""
    NETWORK = auto()


class Kind(NamedTuple):
    """A device that the lab knows."""

    model: str
    """QEMU's name of it."""
    description: str
    needs: Needs = Needs.NOTHING
    properties: Mapping[str, str] = {}
    since: tuple[int, int] = (0, 0)
    """The first QEMU that has it."""


# Behind an IOMMU, a virtio device has to be told that there is one.
_VIRTIO = {"iommu_platform": "on", "disable-legacy": "on"}

KINDS: Mapping[str, Kind] = {
    "nvme": Kind("nvme", "NVMe drive", Needs.DISK),
    "e1000e": Kind("e1000e", "Intel 82574L network card", Needs.NETWORK),
    "igb": Kind("igb", "Intel 82576 network card with SR-IOV", Needs.NETWORK, since=(8, 0)),
    "edu": Kind("edu", "QEMU's device for teaching: registers, DMA, interrupts"),
    "virtio-net": Kind("virtio-net-pci", "virtio network card", Needs.NETWORK, _VIRTIO),
    "virtio-blk": Kind("virtio-blk-pci", "virtio disk", Needs.DISK, _VIRTIO),
    "virtio-rng": Kind("virtio-rng-pci", "virtio random numbers", Needs.NOTHING, _VIRTIO),
    "xhci": Kind("qemu-xhci", "USB 3 controller with a disk", Needs.USB_DISK),
    "ahci": Kind("ich9-ahci", "SATA controller with a disk", Needs.SATA_DISK),
    "pci-testdev": Kind("pci-testdev", "QEMU's device for testing ioeventfds"),
}


@dataclass(frozen=True)
class DeviceSpec:
    """One device. Kinds that the lab doesn't know are passed on to QEMU by their name."""

    kind: str
    properties: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join([self.kind, *(f"{k}={v}" for k, v in self.properties.items())])

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def model(self) -> Kind:
        return KINDS.get(self.kind) or Kind(self.kind, self.kind)

    @property
    def has_disk(self) -> bool:
        """Whether the lab is to give it one, of disk_size()."""
        needs = self.model.needs in (Needs.DISK, Needs.USB_DISK)
        return needs and "drive" not in self.properties


@dataclass(frozen=True)
class Bridge:
    """Devices behind one conventional PCI bridge, which makes them one IOMMU group."""

    members: tuple[DeviceSpec, ...]

    def __str__(self) -> str:
        return f"bridge({'+'.join(map(str, self.members))})"


Item = DeviceSpec | Bridge
"""What takes one root port."""


def parse(text: str) -> tuple[Item, ...]:
    """The devices that text asks for, if any. Raises LabError for what isn't understood."""
    items = _ITEM.findall(text)
    if ",".join(items) != text:
        raise _misread(text, "commas and parentheses don't fit together")
    return tuple(map(_item, items))


def each(items: Iterable[Item]) -> Iterator[DeviceSpec]:
    """All devices, those behind bridges included."""
    for item in items:
        if isinstance(item, Bridge):
            yield from item.members
        else:
            yield item


def parse_size(text: str) -> int:
    """A number of bytes such as 512M or 512MiB, 1 or more. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if not match or not int(match[1]):
        raise ValueError(f"{text!r} is no size such as 512M or 1G")
    return int(match[1]) * _UNITS[(match[2] or "").upper()]


def disk_size(spec: DeviceSpec) -> int:
    """Bytes of the disk that a device is to have, whole blocks. Raises LabError."""
    text = spec.properties.get("size")
    if text is None:
        return DISK_SIZE
    try:
        size = parse_size(text)
    except ValueError as error:
        raise _unusable(spec, str(error)) from None
    if size < DISK_BLOCK:
        raise _unusable(spec, f"a disk of {size} bytes is less than a block")
    if size > _MOST_DISK:
        raise _unusable(spec, "a disk has 16T at most")
    return -(-size // DISK_BLOCK) * DISK_BLOCK


def _unusable(spec: DeviceSpec, why: str) -> LabError:
    return LabError(f"lab device {spec}: {why}", "take 4K to 16T")


def _item(text: str) -> Item:
    bridge = _BRIDGE.fullmatch(text)
    if bridge:
        return Bridge(tuple(map(parse_one, bridge["members"].split("+"))))
    return parse_one(text)


def parse_one(text: str) -> DeviceSpec:
    """A kind and its properties, as in nvme:size=1G. Raises LabError."""
    kind, *settings = text.split(":")
    if not _NAME.fullmatch(kind):
        raise _misread(text, "a device begins with its kind")
    properties = {}
    for setting in settings:
        match = _PROPERTY.fullmatch(setting)
        if not match:
            raise _misread(text, f"{setting!r} is not NAME=VALUE")
        if match["name"] in _OURS:
            raise _misread(text, f"its {match['name']} is the lab's choice")
        properties[match["name"]] = match["value"]
    spec = DeviceSpec(kind, properties)
    if spec.has_disk:
        disk_size(spec)
    return spec


def _misread(text: str, why: str) -> LabError:
    return LabError(
        f"lab device {text!r}: {why}",
        f"write it like nvme:size=1G,edu,bridge(nvme+e1000e); the lab knows {', '.join(KINDS)}",
    )
