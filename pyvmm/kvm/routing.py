# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""GsiRouting: which interrupt each GSI raises, changed in batches.

The kernel takes the whole table at once and makes all vCPUs notice, so that a change costs the
same for one route as for a thousand: callers say what they want, then commit() once.

GSIs 0 to 23 are wired as on a PC: GSI n is pin n of the IOAPIC and, below 16, line n of the PIC
pair; but the timer's, GSI 0, is at pin 2, where the PIC pair's own cascade leaves room. (KVM's
default has it at pin 0.) ACPI's MADT tells the guest so.

Source: the kernel's Documentation/virt/kvm/api.rst, KVM_SET_GSI_ROUTING.
"""

from __future__ import annotations

import threading
from struct import Struct

from ..uapi import kvm as uapi
from .errors import KvmLimitReached, call

IRQCHIP_GSIS = uapi.KVM_IOAPIC_NUM_PINS
_PIC_LINES = 8
_CASCADE = 2

_HEADER = Struct("=II")  # kvm_irq_routing: nr, flags
_IRQCHIP = Struct("=IIII II 24x")  # kvm_irq_routing_entry with u.irqchip
_MSI = Struct("=IIII IIII 16x")  # kvm_irq_routing_entry with u.msi


def _irqchip_routes() -> list[bytes]:
    routes = []
    for gsi in range(IRQCHIP_GSIS):
        if gsi == _CASCADE:
            continue
        pins = [(uapi.KVM_IRQCHIP_IOAPIC, gsi or _CASCADE)]
        if gsi < _PIC_LINES:
            pins.append((uapi.KVM_IRQCHIP_PIC_MASTER, gsi))
        elif gsi < 2 * _PIC_LINES:
            pins.append((uapi.KVM_IRQCHIP_PIC_SLAVE, gsi - _PIC_LINES))
        routes += [
            _IRQCHIP.pack(gsi, uapi.KVM_IRQ_ROUTING_IRQCHIP, 0, 0, chip, pin) for chip, pin in pins
        ]
    return routes


class GsiRouting:
    """The GSI routing table of a VM with an in-kernel irqchip. Safe to call from any thread."""

    def __init__(self, vm_fd: int, limit: int) -> None:
        """limit is how many routes KVM takes, KVM_CAP_IRQ_ROUTING."""
        self._fd = vm_fd
        self._lock = threading.Lock()
        self._irqchip = _irqchip_routes()
        self.capacity = limit - len(self._irqchip)
        self._free: list[int] = []
        self._allocated: set[int] = set()
        self._next = IRQCHIP_GSIS
        self._msi: dict[int, bytes] = {}
        self._committed: dict[int, bytes] | None = None  # None: KVM has its own default

    def allocate(self) -> int:
        """A GSI (24 or more) with no route. Raises KvmLimitReached."""
        with self._lock:
            if len(self._allocated) >= self.capacity:
                raise KvmLimitReached(
                    f"all {self.capacity} message-signalled interrupt routes of this KVM are in "
                    "use; give the guest's devices fewer vectors"
                )
            if self._free:
                gsi = self._free.pop()
            else:
                gsi, self._next = self._next, self._next + 1
            self._allocated.add(gsi)
            return gsi

    def free(self, gsi: int) -> None:
        """Give a GSI back; with the next commit it raises nothing."""
        with self._lock:
            if gsi not in self._allocated:
                raise ValueError(f"GSI {gsi} is not allocated")
            self._allocated.remove(gsi)
            self._msi.pop(gsi, None)
            self._free.append(gsi)

    def set_msi(self, gsi: int, address: int, data: int) -> None:
        """Have gsi send the message data (32 bits) to address (64 bits), once committed."""
        entry = _MSI.pack(
            gsi, uapi.KVM_IRQ_ROUTING_MSI, 0, 0, address & 0xFFFFFFFF, address >> 32, data, 0
        )
        with self._lock:
            self._msi[gsi] = entry

    def commit(self) -> None:
        """Tell the kernel what has changed; no system call if nothing has. Raises KvmCallFailed."""
        with self._lock:
            if self._msi == self._committed:
                return
            wanted = self._msi.copy()
            routes = [*self._irqchip, *wanted.values()]
            table = bytearray(b"".join((_HEADER.pack(len(routes), 0), *routes)))
            call(
                self._fd,
                uapi.KVM_SET_GSI_ROUTING,
                uapi.kvm_irq_routing.from_buffer(table),
                doing=f"routing {len(wanted)} message-signalled interrupts",
            )
            self._committed = wanted
