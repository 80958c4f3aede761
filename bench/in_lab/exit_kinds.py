# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What guests leave for, by kind: serial port, configuration space, BARs, and so on.

The kernel's tracing counts the accesses of all VMs there are, by port and by guest-physical
address, in histograms of its events kvm:kvm_pio and kvm:kvm_mmio. What KVM's own interrupt
controllers and timer answer is among them, and is a kind of its own; so are, among the others, the
writes that an ioeventfd takes.

Source: Documentation/trace/histogram.rst of the kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import BenchError
from .contenders import run

_TRACING = Path("/sys/kernel/tracing")
_EVENTS = _TRACING / "events/kvm"
_ENTRY = re.compile(r"^\{ (?:port|gpa): +([0-9a-f]+) \} hitcount: +(\d+)", re.MULTILINE)
_DROPPED = re.compile(r"^ +Dropped: (\d+)", re.MULTILINE)

SERIAL, CONFIG_SPACE = "serial port", "configuration space"
IN_KERNEL = "interrupt controllers and timer, which KVM emulates"
MEMORY = "BARs and other memory"
_PORTS = (
    (range(0x3F8, 0x400), SERIAL),
    (range(0xCF8, 0xD00), CONFIG_SPACE),
    (range(0x70, 0x72), "RTC"),
    (range(0x510, 0x51C), "firmware's configuration"),
    *((range(first, first + 2), IN_KERNEL) for first in (0x20, 0xA0, 0x4D0)),
    *((range(first, end), IN_KERNEL) for first, end in ((0x40, 0x44), (0x61, 0x62))),
)
_ADDRESSES = (
    (range(0xFEC0_0000, 0xFEC0_1000), IN_KERNEL),
    (range(0xFEE0_0000, 0xFEF0_0000), IN_KERNEL),
)
OTHER_PORTS = "other ports"


class Event(NamedTuple):
    """A histogram: of which event, by which of its fields, and of which of them."""

    name: str
    key: str
    condition: str

    @property
    def trigger(self) -> str:
        return f"hist:keys={self.key}.hex:size=65536{self.condition}"


PIO = Event("kvm_pio", "port", "")
# A read that goes to the VMM comes twice: as one that KVM can't satisfy, and when it is done.
MMIO = Event("kvm_mmio", "gpa", " if type!=1")


def parse(text: str) -> Counter[int]:
    """How often there was what, by port or address. Raises BenchError if some were not counted."""
    dropped = _DROPPED.search(text)
    if dropped is None or int(dropped[1]):
        raise BenchError(f"the kernel's histogram is not whole: {text[-200:]}")
    return Counter({int(key, 16): int(count) for key, count in _ENTRY.findall(text)})


def by_kind(ports: Mapping[int, int], addresses: Mapping[int, int], ecam: range) -> Counter[str]:
    """The same by kind; ecam is where the VM has its configuration space."""
    kinds: Counter[str] = Counter()
    for port, count in ports.items():
        kinds[_kind(port, _PORTS, OTHER_PORTS)] += count
    for address, count in addresses.items():
        kinds[_kind(address, (*_ADDRESSES, (ecam, CONFIG_SPACE)), MEMORY)] += count
    return kinds


def _kind(key: int, known: tuple[tuple[range, str], ...], other: str) -> str:
    return next((kind for keys, kind in known if key in keys), other)


class Exits:
    """The histograms, counting; so_far() reads them."""

    def so_far(self, ecam: range) -> Counter[str]:
        """By kind, since counting began."""
        return by_kind(_read(PIO), _read(MMIO), ecam)


@contextmanager
def counting() -> Iterator[Exits]:
    """Count meanwhile. It takes time of each exit, so nothing else is measured then."""
    if not _EVENTS.exists():
        run(["/run/pyvmm-lab/busybox", "mount", "-t", "tracefs", "tracefs", str(_TRACING)])
    for event in (PIO, MMIO):
        (_EVENTS / event.name / "trigger").write_text(event.trigger)
    try:
        yield Exits()
    finally:
        for event in (PIO, MMIO):
            (_EVENTS / event.name / "trigger").write_text(f"!{event.trigger}")


def _read(event: Event) -> Counter[int]:
    return parse((_EVENTS / event.name / "hist").read_text())
