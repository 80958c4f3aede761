# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Assigned: a vfio.Device as the guest sees it, a function on the PCI bus.

config_table.py has the table of whose configuration bits are whose. A guest's write changes our
bits first; `_settle` then brings the device, the address space and the interrupts in line.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from pyvmm.kvm import KvmError
from pyvmm.memory import AddressMap, GuestMemory
from pyvmm.uapi.pci_regs import (
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_CFG_SPACE_SIZE,
    PCI_CLASS_REVISION,
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_IO,
    PCI_COMMAND_MEMORY,
    PCI_DEVICE_ID,
    PCI_HEADER_TYPE,
    PCI_HEADER_TYPE_MASK,
    PCI_HEADER_TYPE_NORMAL,
    PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_PIN,
    PCI_VENDOR_ID,
)
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX
from pyvmm.vfio import Device, DeviceGone, Interval, VfioError

from .bar_mapping import BarMapping
from .bars import ROM, Bar
from .bus import NOBODY, Bus, Function
from .config_space import ConfigSpace
from .config_view import ConfigView
from .device_bars import declare_bars, doorbells, map_areas
from .device_capabilities import DeviceCapabilities
from .errors import BadDevice, BadLayer, PciError
from .function_lock import FunctionLock
from .guard import Guard
from .handlers import Layer, RegionHandler, stack
from .identity import identity
from .interfaces import Report, Vm
from .interrupts import Interrupts
from .intx import Intx
from .msix import Msix, MsixPba, MsixTable
from .power import Power
from .rom import RomHandler

_CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
_NO_ANSWER = b"\xff" * 4
_INTD = 4


class Assigned(Function):
    """A device assigned to the guest. A context manager; the device itself stays the caller's.

    Put it on a bus, place its BARs, then reset(): from there on the guest can have it. What goes
    wrong while the guest uses it is counted in guard.counts.
    """

    def __init__(
        self,
        device: Device,
        *,
        memory: GuestMemory,
        mmio: AddressMap,
        ports: AddressMap,
        vm: Vm,
        report: Report,
        layers: Sequence[Layer] = (),
        rom: bytes | None = None,
    ) -> None:
        """Learn what the device is, and map what can be mapped.

        vm is where its interrupts and doorbells go (pyvmm.kvm.Vm); report is Guard's. layers
        lie on the handlers of its BARs, and what they cover is trapped. rom is an expansion ROM
        to have instead of the device's own; empty, it has none. Raises BadDevice, BadLayer,
        VfioError.
        """
        self.name = device.name
        self._device = device
        # Guards our configuration bits and what follows from them: where BARs are, interrupts.
        # Accesses that are the device's alone don't take it.
        self._lock = FunctionLock(self._remove)
        self.guard = Guard(device, report, self._lock.request)

        self._config = ConfigSpace(PCI_CFG_SPACE_EXP_SIZE)
        snapshot, self._config_size = _snapshot(device)
        self._bars = declare_bars(device, self._config, snapshot, rom)
        declared = DeviceCapabilities(device, self._config, snapshot, vm)
        self._capabilities = declared
        # From attached() on:
        self._view: ConfigView
        self._reset_bits: Sequence[tuple[int, int]] = ()
        self._used = False  # the guest has written to configuration space
        self._msi = declared.msi
        self._power = Power(self.guard, declared.power_control)
        self._intx = Intx(device, vm, partial(self.guard.failed, "INTx not unmasked"))
        self._interrupts = Interrupts(self.guard, self._intx, declared.msi, declared.msix)
        ids = snapshot.u16(PCI_VENDOR_ID), snapshot.u16(PCI_DEVICE_ID)
        self._rom = RomHandler(device, self.guard, ids, rom)
        self.identity = identity(snapshot, self._bars, self._interrupts.vectors)

        _check_layers(device, self._bars, layers)
        if declared.msix is not None:
            layers = (*self._msix_layers(declared.msix, declared.has_pba), *layers)
            if not declared.has_pba:
                report(
                    f"{device.name}: its MSI-X pending bits should be where it has no BAR; the "
                    "guest reads none"
                )
        # BAR registers as the device has been told them, by offset.
        self._told: dict[int, int] = {}
        self._mappings: list[BarMapping] = []
        with ExitStack() as undo:
            undo.callback(self._quiesce)
            for bar in self._bars:
                on_bar = [layer for layer in layers if layer.region == bar.index]
                held = [layer.interval for layer in on_bar]
                below = RegionHandler(self.guard, device.region_info(bar.index))
                mapping = BarMapping(
                    bar,
                    f"{self.name} {bar}",
                    stack(self._rom if bar.kind == ROM else below, on_bar),
                    ports if bar.io else mmio,
                    memory=memory,
                    mapped=map_areas(device, bar, held, self.guard),
                    vm=vm,
                    doorbells=doorbells(device, bar, held),
                    failed=self.guard.failed,
                )
                undo.callback(mapping.close)
                self._mappings.append(mapping)
            undo.callback(self._disconnect)
            self._undo = undo.pop_all()

    def __enter__(self) -> Assigned:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _msix_layers(self, msix: Msix, has_pba: bool) -> list[Layer]:
        lock, reconcile = self._lock, self._interrupts.reconcile
        # The device's own table is VFIO's to fill in: nothing goes through to it.
        table = Layer(
            msix.table_region, msix.table_area, lambda _: MsixTable(msix, lock, reconcile)
        )
        pba = Layer(msix.pba_region, msix.pba_area, lambda below: MsixPba(msix, lock, below))
        return [table, pba] if has_pba else [table]

    def lost(self, error: VfioError) -> None:
        """The device is lost: the guest sees an empty slot from now on. From any thread.

        Accesses to the device itself need not say so: those that raise DeviceGone do it. Waits
        for nobody who uses the function; mapped areas may be there until they are done.
        """
        self.guard.lost(error)

    def _remove(self) -> None:
        """Take interrupts and BARs from the guest, for good: what would bring them looks first."""
        for mapping in self._mappings:
            mapping.move(None)
        self._disconnect()
        if self.bridge is not None:
            self.bridge.device_changed()

    def _quiesce(self) -> None:
        """No more DMA: whoever closes us may take the memory away that it goes to."""
        if not self.guard.gone:
            self.guard.write(_CONFIG, PCI_COMMAND, 2, 0)

    def _disconnect(self) -> None:
        try:
            self._interrupts.close()
        except (VfioError, KvmError) as error:
            # They are all taken back; only the device could not be told.
            self.guard.failed("interrupts not taken back", error)

    def close(self) -> None:
        """Take interrupts and BARs from the guest, and let go of the device. Idempotent."""
        with self._lock:
            self._undo.close()

    # -- on the bus ---------------------------------------------------------------------------

    @property
    def present(self) -> bool:
        return self.guard.gone is None

    @property
    def bars(self) -> tuple[Bar, ...]:
        return self._bars

    @property
    def interrupts_in_use(self) -> str:
        """INTx, MSI or MSI-X, and how much of it, for people."""
        return self._interrupts.in_use()

    def attached(self, bus: Bus, devfn: int) -> None:
        super().attached(bus, devfn)
        self._view = self._capabilities.view(bus.bridge is None, self._config_size)
        self._reset_bits = self._capabilities.reset_bits
        pin = self._config.u8(PCI_INTERRUPT_PIN)
        if pin:
            self._intx.gsi = bus.intx_gsi(devfn >> 3, pin)
            self._config.set_u8(PCI_INTERRUPT_LINE, self._intx.gsi)

    def reset(self) -> None:
        """Reset the function and, if it can be, the device, which has its bus for itself.

        As prepare_reset() and finish_reset() with that in between. Raises what they do.
        """
        self.prepare_reset()
        try:
            if self._device.info.resettable:
                self._device.reset()
        except DeviceGone as error:
            self.guard.lost(error)
            raise
        self.finish_reset()

    def prepare_reset(self) -> None:
        """Before the device is reset: take it from the guest, which finds it as at power-on.

        Before boot, and when the guest is reset; no vCPU may be running. BARs are where they were
        placed, interrupts are off, and it does no DMA any more. Raises VfioError if it is lost.
        """
        with self._lock:
            if self.guard.gone:
                raise self.guard.gone
            self._stop()
            self._config.set_u8(PCI_INTERRUPT_LINE, self._intx.gsi)
            for bar in self._bars:
                bar.reset()
            self._put_back()

    def _put_back(self) -> None:
        if self._used:
            self._used = False
            for register in self._view.put_back:
                self.guard.write(_CONFIG, *register)

    def finish_reset(self) -> None:
        """After the device was reset: the guest can have it.

        Raises VfioError, and BadDevice if the device doesn't answer.
        """
        with self._lock:
            try:
                self._check_answers()
            except DeviceGone as error:
                self.guard.lost(error)
                raise
            self._interrupts.reconcile()

    def _check_answers(self) -> None:
        # Not the vendor: of that, the kernel's VFIO tells what it was when the device was opened.
        if self._device.region_read(_CONFIG, PCI_CLASS_REVISION, 4) == _NO_ANSWER:
            raise BadDevice(
                f"{self.name} does not answer after its reset: its configuration space reads "
                "as all-ones; one of the host's comes back with a power cycle, and may do "
                "better with another reset_method (in sysfs)"
            )

    def _stop(self) -> None:
        """Take BARs and interrupts from the guest, and leave our bits as a reset does."""
        for mapping in self._mappings:
            mapping.move(None)
        self._interrupts.reset()
        self._rom.forget()
        self._power.wake()
        self._config.set_u16(PCI_COMMAND, 0)
        self._told.clear()
        # A reset of the device may leave its configuration as it is; vfio-pci's does.
        for row in self._view.told_rows:
            value = self._config.read(row.offset, row.size)
            self.guard.write(_CONFIG, row.offset, row.size, value)

    # -- what the guest does ------------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        nothing = (1 << 8 * size) - 1
        if self.guard.gone or offset + size > self._view.size:
            return nothing
        ours = self._view.ours(offset, size)
        if not ours:
            return self.guard.read(_CONFIG, offset, size)
        if self._msi is not None and self._msi.has_pending_bits(offset, size):
            with self._lock:
                self._msi.update_pending_bits()
        value = self._config.read(offset, size) & ours
        if ours != nothing:
            value |= self.guard.read(_CONFIG, offset, size) & ~ours
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        if self.guard.gone or offset + size > self._view.size:
            return
        self._used = True
        if self._view.is_the_devices(offset, size):
            self.guard.write(_CONFIG, offset, size, value)
            return
        with self._lock:
            self._config.write(offset, size, value)
            self._settle(offset, size, value)

    def _settle(self, offset: int, size: int, value: int) -> None:
        """Have everything follow from a write to our bits, and tell the device of it."""
        self._power.expect(offset, size, value)
        # The guest reaches a BAR only while the device decodes it: a mapped access to a device
        # that doesn't would end the guest. So BARs go before the device is told, and come after.
        for mapping in self._mappings:
            if mapping.address != self._reached(mapping.bar):
                mapping.move(None)
        self._tell(offset, size, value)
        self._power.settle()
        if any(_writes_to(offset, size, value, at) & mask for at, mask in self._reset_bits):
            self._reset_by_guest()
        self._follow()

    def _follow(self) -> None:
        """Have BARs and interrupts where our bits say."""
        if not self.guard.gone:
            for mapping in self._mappings:
                mapping.move(self._reached(mapping.bar))
        self._intx.disabled = bool(self._config.u16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE)
        self._interrupts.reconcile()

    def _reached(self, bar: Bar) -> int | None:
        """Where the guest reaches a BAR: if it decodes, and the bridge above, if any, forwards."""
        address, bridge = bar.decoded() if self._power.on else None, self.bridge
        if address is None or bridge is None or bridge.forwards(address, bar.size, io=bar.io):
            return address
        return None

    def bridge_changed(self) -> None:
        with self._lock:
            if not self.guard.gone:
                for mapping in self._mappings:
                    mapping.move(self._reached(mapping.bar))

    def bus_reset(self) -> None:
        """A conventional reset (PCI Express Base 6.0, section 6.6.1), by the port above.

        Other vCPUs may run. Their writes to our bits wait for the lock. When `_stop` returns,
        none reaches mapped areas any more, and the device does no DMA; who is in a handler of
        the device's gets what a device in reset answers, as on any bus.
        """
        with self._lock:
            if self.guard.gone:
                return
            self._forget()
            self._put_back()
            try:
                self._device.reset_by_bus()
                self._check_answers()
            except (VfioError, PciError) as error:
                self.guard.failed("bus resets failed", error)
            self._follow()

    def _reset_by_guest(self) -> None:
        """A function-level reset (PCI Express Base 6.0, section 6.6.2).

        The device doesn't see the bit: it is reset by VFIO, which tells us if that failed, and
        which keeps what configuration the guest can't see. Our bits become what a reset makes of
        them: nothing decoded, no DMA, interrupts off, BARs at 0.
        """
        self._forget()
        self._put_back()
        if self.guard.gone:
            return
        try:
            self._device.reset()
            self._check_answers()
        except (VfioError, PciError) as error:
            self.guard.failed("function-level resets failed", error)

    def _forget(self) -> None:
        self._stop()
        for bar in self._bars:
            bar.clear()

    def _tell(self, offset: int, size: int, value: int) -> None:
        """Tell the device of a write. It may refuse: servers do so over bits they don't know."""
        # Some want to know where their BARs are before they let them be used.
        if self._config.u16(PCI_COMMAND) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY):
            for bar in self._bars:
                for register, content in bar.registers:
                    if self._told.get(register) != content:
                        self._told[register] = content
                        self.guard.write(_CONFIG, register, 4, content)
        for register, length, part in self._view.told(offset, size, value):
            self.guard.write(_CONFIG, register, length, part)


def _writes_to(offset: int, size: int, value: int, at: int) -> int:
    """The byte that a write has for an offset; 0 if none."""
    return value >> 8 * (at - offset) & 0xFF if offset <= at < offset + size else 0


def _snapshot(device: Device) -> tuple[ConfigSpace, int]:
    """The device's own configuration space as it is now, and how much of it there is.

    Raises BadDevice for what can't be assigned.
    """
    size = device.region_info(_CONFIG).size
    if size < PCI_CFG_SPACE_SIZE:
        raise BadDevice(f"{device.name}: {size} bytes of configuration space; no PCI device")
    size = PCI_CFG_SPACE_SIZE if size < PCI_CFG_SPACE_EXP_SIZE else PCI_CFG_SPACE_EXP_SIZE
    snapshot = ConfigSpace(PCI_CFG_SPACE_EXP_SIZE)
    snapshot.data[:size] = device.region_read(_CONFIG, 0, size)
    if snapshot.u16(PCI_VENDOR_ID) == NOBODY or snapshot.data.startswith(
        _NO_ANSWER, PCI_CLASS_REVISION
    ):
        raise BadDevice(
            f"{device.name} does not answer: its configuration space reads as all-ones; "
            "reset it or power-cycle the host"
        )
    kind = snapshot.u8(PCI_HEADER_TYPE) & PCI_HEADER_TYPE_MASK
    if kind != PCI_HEADER_TYPE_NORMAL:
        raise BadDevice(f"{device.name} is a bridge (header type {kind}); assign what is behind it")
    # None is shown that is not there for us.
    if not device.irq_info(VFIO_PCI_INTX_IRQ_INDEX).count or snapshot.u8(PCI_INTERRUPT_PIN) > _INTD:
        snapshot.set_u8(PCI_INTERRUPT_PIN, 0)
    return snapshot, size


def _check_layers(device: Device, bars: Sequence[Bar], layers: Sequence[Layer]) -> None:
    sizes = {bar.index: bar.size for bar in bars}
    for layer in layers:
        size = sizes.get(layer.region, 0)
        if not layer.interval.size or not Interval(0, size).covers(layer.interval):
            raise BadLayer(
                f"{device.name}: no layer can lie on {layer.interval} of region {layer.region}; "
                + (f"that BAR has {size:#x} bytes" if size else "that is none of its BARs")
            )
