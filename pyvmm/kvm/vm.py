# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Vm: one virtual machine; its interrupt controllers, eventfds, memslots and vCPUs.

Source: the kernel's Documentation/virt/kvm/api.rst, "vm ioctls".
"""

from __future__ import annotations

import os
from ctypes import c_uint64
from errno import EBADF, EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC

from ..uapi import kvm as uapi
from .errors import call
from .memslots import Memslots
from .routing import GsiRouting
from .vcpu import Vcpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stats import Stats, Value
    from .system import System
    from .vfio_device import VfioDevice


class Vm:
    """A virtual machine. A context manager that owns its vCPUs too.

    Interrupts need create_irqchip() first, and that comes before the first vCPU.
    """

    def __init__(self, system: System, fd: int) -> None:
        """Take over fd; System.create_vm() is how to get here."""
        self.system = system
        self.fd = fd
        self.vcpus: list[Vcpu] = []
        self._stats: Stats | None = None
        self._vfio: VfioDevice | None = None
        try:
            self.memslots = Memslots(fd, system.check_extension)
            self.routing = GsiRouting(fd, system.check_extension(uapi.KVM_CAP_IRQ_ROUTING))
            self._run_size = call(
                system.fd, uapi.KVM_GET_VCPU_MMAP_SIZE, doing="asking for the size of kvm_run"
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Vm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the vCPUs, then the VM. Idempotent. Raises RuntimeError while a vCPU runs."""
        while self.vcpus:
            self.vcpus[-1].close()
            self.vcpus.pop()
        for part in (self._stats, self._vfio):
            if part:
                part.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # -- the platform -------------------------------------------------------------------------

    def set_identity_map(self, address: int) -> None:
        """Where KVM may put a page table of its own: one page, guest-physical, below 4 GiB.

        Intel processors without unrestricted guest need it for real mode. Before any vCPU.
        """
        call(
            self.fd,
            uapi.KVM_SET_IDENTITY_MAP_ADDR,
            (c_uint64 * 1)(address),
            doing=f"setting KVM's identity map to {address:#x}",
        )

    def set_tss(self, address: int) -> None:
        """Where KVM may put a TSS of its own: three pages, guest-physical, below 4 GiB."""
        call(self.fd, uapi.KVM_SET_TSS_ADDR, address, doing=f"setting KVM's TSS to {address:#x}")

    def create_irqchip(self) -> None:
        """PIC pair, IOAPIC and a local APIC per vCPU, all in the kernel, wired as on a PC."""
        call(self.fd, uapi.KVM_CREATE_IRQCHIP, doing="creating the in-kernel irqchip")
        self.routing.commit()

    def create_pit(self) -> None:
        """The i8254 timer, in the kernel, on GSI 0; port 0x61 included."""
        config = uapi.kvm_pit_config(flags=uapi.KVM_PIT_SPEAKER_DUMMY)
        call(self.fd, uapi.KVM_CREATE_PIT2, config, doing="creating the in-kernel PIT")

    def create_vcpu(self, index: int) -> Vcpu:
        """vCPU index, from 0, which is its APIC id too; this VM owns it."""
        fd = call(
            self.fd,
            uapi.KVM_CREATE_VCPU,
            index,
            doing=f"creating vCPU {index}",
            cures={
                EEXIST: "there is one of that index",
                EINVAL: "this KVM has no room for so many; give the guest fewer cpus",
            },
        )
        vcpu = Vcpu(fd, index, self._run_size)
        self.vcpus.append(vcpu)
        return vcpu

    # -- interrupts ---------------------------------------------------------------------------

    def irqfd(self, eventfd: int, gsi: int, resample: int | None = None) -> None:
        """Have a write to eventfd raise gsi, without this process.

        With resample, another eventfd, the interrupt is level-triggered: gsi stays asserted
        until the guest's EOI, on which KVM deasserts it and signals resample.
        """
        request = uapi.kvm_irqfd(fd=eventfd, gsi=gsi)
        if resample is not None:
            request.flags = uapi.KVM_IRQFD_FLAG_RESAMPLE
            request.resamplefd = resample
        call(
            self.fd,
            uapi.KVM_IRQFD,
            request,
            doing=f"connecting eventfd {eventfd} to GSI {gsi}",
            cures={
                EBADF: "the eventfd is closed",
                EBUSY: "the eventfd is connected already",
                EINVAL: "the file is no eventfd, or there is no such GSI",
            },
        )

    def remove_irqfd(self, eventfd: int, gsi: int) -> None:
        """Undo irqfd(); when this returns eventfd raises gsi no more."""
        request = uapi.kvm_irqfd(fd=eventfd, gsi=gsi, flags=uapi.KVM_IRQFD_FLAG_DEASSIGN)
        call(
            self.fd,
            uapi.KVM_IRQFD,
            request,
            doing=f"disconnecting eventfd {eventfd} from GSI {gsi}",
        )

    def irq_line(self, gsi: int, level: bool) -> None:
        """Set the level of an irqchip GSI (0 to 23)."""
        line = uapi.kvm_irq_level(irq=gsi, level=level)
        call(self.fd, uapi.KVM_IRQ_LINE, line, doing=f"setting the level of GSI {gsi}")

    def signal_msi(self, address: int, data: int) -> bool:
        """Send a message-signalled interrupt now; False if the guest has blocked it."""
        msi = uapi.kvm_msi(address_lo=address & 0xFFFFFFFF, address_hi=address >> 32, data=data)
        return call(self.fd, uapi.KVM_SIGNAL_MSI, msi, doing=f"sending an MSI to {address:#x}") > 0

    # -- doorbells ----------------------------------------------------------------------------

    def ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None:
        """Have a guest's write signal eventfd fd, without an exit to this process.

        The write is to a port if pio, else to a guest-physical address; of size bytes (1, 2, 4,
        8, or 0 for any); and, if datamatch is given, of that value.
        """
        self._ioeventfd(fd, address, size, pio, datamatch, 0)

    def remove_ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None:
        """Undo ioeventfd(), called with the same arguments."""
        self._ioeventfd(fd, address, size, pio, datamatch, uapi.KVM_IOEVENTFD_FLAG_DEASSIGN)

    def _ioeventfd(
        self, fd: int, address: int, size: int, pio: bool, datamatch: int | None, flags: int
    ) -> None:
        request = uapi.kvm_ioeventfd(fd=fd, addr=address, len=size, flags=flags)
        if pio:
            request.flags |= uapi.KVM_IOEVENTFD_FLAG_PIO
        if datamatch is not None:
            request.flags |= uapi.KVM_IOEVENTFD_FLAG_DATAMATCH
            request.datamatch = datamatch
        where = f"{'port' if pio else 'guest-physical'} {address:#x}"
        doing = "disconnecting" if flags else "connecting"
        call(
            self.fd,
            uapi.KVM_IOEVENTFD,
            request,
            doing=f"{doing} eventfd {fd} and writes of {size} bytes to {where}",
            cures={
                EBADF: "the eventfd is closed",
                EEXIST: "another eventfd has these writes",
                EINVAL: "the file is no eventfd, or the size not 0, 1, 2, 4 or 8",
                ENOENT: "they are not connected",
                ENOSPC: "this KVM has no room for more in-kernel devices",
            },
        )

    # -- VFIO and counters --------------------------------------------------------------------

    @property
    def vfio(self) -> VfioDevice:
        """KVM's VFIO device, made when first asked for; owned by this VM."""
        if self._vfio is None:
            from .vfio_device import VfioDevice

            self._vfio = VfioDevice(self.fd)
        return self._vfio

    def stats(self) -> dict[str, Value]:
        """KVM's own counters of this VM; vCPUs have theirs."""
        if self._stats is None:
            from .stats import Stats

            self._stats = Stats(self.fd, "the VM")
        return self._stats.read()
