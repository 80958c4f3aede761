# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Hardware: what a machine is made of. Built once; a guest's reset brings it back to that state.

RAM, memslots, mappings for DMA and the host's devices stay where they are at a reset: what starts
again is what the guest could set up.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from pyvmm import boot
from pyvmm.kvm import System
from pyvmm.kvm.host_cpu import runs_guests
from pyvmm.memory import PRIVATE, SHARED, THP, AddressMap, GuestMemory, layout, thp_enabled
from pyvmm.pci.allocator import Windows
from pyvmm.pci.bus import Bus
from pyvmm.pci.host_bridge import ConfigPorts, Ecam, HostBridge
from pyvmm.pci.pins import intx_gsi

from .images import in_cache
from .platform import Platform
from .processors import Processors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyvmm.config import VmConfig
    from pyvmm.kvm import Vcpu, Vm
    from pyvmm.memory.population import Population
    from pyvmm.pci.errors import PciError
    from pyvmm.vfio import VfioError

    from .console import Console
    from .devices import DeviceOpeners
    from .phases import Phases
    from .plugged_device import PluggedDevice
    from .run import Run
    from .slot import Slot
    from .topology import Topology


class Hardware:
    """A VM's parts, from its config. close() takes them back, in reverse.

    notice takes lines for people. Nothing is there before build().
    """

    memory: GuestMemory
    vm: Vm
    platform: Platform
    bus: Bus

    def __init__(
        self, config: VmConfig, console: Console, notice: Callable[[str], None], phases: Phases
    ) -> None:
        self.ports, self.mmio = AddressMap("ports"), AddressMap("MMIO")
        self.vcpus: list[Vcpu] = []
        """None before they are all there, and after close()."""
        self.parts = ExitStack()
        self._config = config
        self._console = console
        self._notice = notice
        self._phases = phases
        self._openers: DeviceOpeners | None = None
        self._slots: list[Slot] = []
        self._topology: Topology | None = None
        self._kernel: str | boot.ImageFile | None
        self._initrd: str | boot.ImageFile | None
        self._processors: Processors
        self._windows: Windows

    # -- building -----------------------------------------------------------------------------

    def build(self, run: Run, images: tuple[str | None, str | None]) -> None:
        """Build it, all but letting a guest run. run is told what the guest asks for.

        images are the paths of kernel and initrd. Those in the cache may go from there while the
        guest runs, so they stay open for its resets; others are what is there by then.

        Raises what stands in the way; what was built by then is close()'s to take back.
        """
        config, parts, done = self._config, self.parts, self._phases.done
        self._kernel, self._initrd = (
            parts.enter_context(boot.ImageFile(path, role)) if path and is_cached else path
            for path, role, is_cached in zip(
                images, ("kernel", "initrd"), in_cache(config), strict=True
            )
        )
        if config.devices:
            # First of all, so that their processes start while the rest is built.
            from .devices import DeviceOpeners
            from .topology import Topology

            self._topology = Topology(config.devices)
            self._openers = DeviceOpeners(config.devices)
            parts.callback(self._openers.close)
            done("model processes")
        backing = _backing(config)
        self.memory = parts.enter_context(GuestMemory(config.memory.size, backing))
        if backing == THP and not thp_enabled():
            self._notice(
                "memory.backing is thp, but this host has no transparent huge pages for shared "
                "memory: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
            )
        population: Population | None = None
        pinned = any(device.host for device in config.devices)
        if pinned or config.memory.prealloc:
            # What is built meanwhile needs one processor at most.
            from pyvmm.memory.population import Population

            population = Population(self.memory.regions, even_alone=config.memory.prealloc)
            parts.enter_context(population)
        done("guest RAM")
        system = parts.enter_context(System())
        self._processors = processors = Processors(system, config)
        processors.check_reach(config.memory.size)
        self._windows = Windows(config.memory.size, processors.physical_bits)
        # The image, whose ROM is a memslot, and all of RAM come before the irqchip: creating
        # that has KVM wait for a grace period at every later change of memslots.
        entry = self._load(done)
        if entry.is_linux and not runs_guests():
            self._notice(
                "this host's KVM emulates its guests' instructions, as the processor shows neither "
                "vmx nor svm: Linux will hardly boot; `pyvmm run --lab` has a KVM that boots it"
            )
        if self._openers is not None and self._openers.open_host_devices(self.memory.regions):
            done("host devices")
        self.vm = vm = parts.enter_context(system.create_vm())
        done("KVM")
        self.memory.add_observer(vm.memslots)
        parts.callback(self.memory.remove_observer, vm.memslots)
        vm.set_identity_map(layout.IDENTITY_MAP_BASE)
        vm.set_tss(layout.TSS_BASE)
        vm.create_irqchip()
        vm.create_pit()
        done("memslots, irqchip")
        self.platform = Platform(
            vm,
            self.ports,
            ram_size=config.memory.size,
            transmit=self._console.output,
            room=self._console.room,
            exit_guest=run.exited,
            reset=run.asked_for_reset,
            power_off=run.powered_off,
            panicked=run.panicked,
        )
        self._console.connect(self.platform.serial.receive)
        done("platform")
        if population is not None:
            if not population.wait() and config.memory.prealloc:
                self._notice(
                    "memory.prealloc is true, but this host's kernel does not do that "
                    "(MADV_POPULATE_WRITE, Linux 5.14): the guest gets its memory as it uses it"
                )
            done("all RAM there")
        self._build_pci(run)
        done("PCI")
        processors.create(vm)
        entry.apply(vm.vcpus[0])
        done("vCPUs")
        run.check_not_ended()  # its devices have been hung up on
        self.vcpus = vm.vcpus

    def _load(self, done: Callable[[str], None] | None = None) -> boot.Entry:
        """Put the images into guest RAM."""
        config, mmio64 = self._config, self._windows.mmio64
        if config.firmware is not None:
            return boot.load_firmware(self.memory, config.firmware, done=done)
        assert self._kernel is not None
        return boot.load_kernel(
            self.memory,
            self._kernel,
            cpus=config.cpus,
            mmio64=(mmio64.start, mmio64.end),
            last_bus=self._topology.last_bus if self._topology is not None else 0,
            intx_gsi=intx_gsi,
            command_line=config.cmdline,
            console="ttyS0" if config.cmdline_defaults and config.serial != "none" else "",
            initrd=self._initrd,
            done=done,
        )

    def _build_pci(self, run: Run) -> None:
        self.bus = Bus()
        self._host_bridge = HostBridge()
        self.bus.add(self._host_bridge, device=0)
        self._config_ports = ConfigPorts(
            self.bus, lambda _: run.asked_for_reset("the reset control register")
        )
        self._config_ports.add_to(self.ports)
        Ecam(self.bus).add_to(self.mmio)
        if self._openers is not None:
            self._plug(self._openers, run)

    def _plug(self, openers: DeviceOpeners, run: Run) -> None:
        from .dma import DmaSpaces
        from .pci_devices import put_on_bus
        from .plugged_device import PluggedDevice
        from .slot import Slot, way_back

        spaces = DmaSpaces(self.memory, self._notice)
        for open, device in zip(openers, self._config.devices, strict=True):
            run.check_not_ended()
            until = way_back(device)
            plug = partial(
                PluggedDevice,
                open,
                partial(run.lost_device, until=until),
                vm=self.vm,
                memory=self.memory,
                spaces=spaces,
                ports=self.ports,
                mmio=self.mmio,
                notice=self._notice,
                settle=run.settle,
                rom=device.rom,
            )
            absent = partial(run.absent_device, until=until)
            slot = Slot(plug, comes_back=bool(until), absent=absent)
            self._slots.append(self.parts.enter_context(slot))
        self._phases.done("devices, DMA")
        functions = [plugged.function for plugged in self.devices]
        assert self._topology is not None
        put_on_bus(functions, self._topology, self.bus, self._windows)
        for _, error in self._reset_devices(self.devices):
            raise error
        self._reset_bridges()

    def _reset_devices(
        self, devices: Sequence[PluggedDevice]
    ) -> list[tuple[PluggedDevice, VfioError | PciError]]:
        """Returns those that are lost, and why."""
        if not devices:
            return []
        from .resets import reset_devices

        return reset_devices(devices, self._notice)

    def _reset_bridges(self) -> None:
        """After the devices: a port's link is as the device on it has it by then."""
        for bridge in (self._host_bridge, *self.bus.bridges):
            bridge.reset()

    @property
    def devices(self) -> list[PluggedDevice]:
        """Those of the config, in its order, from build() on; also what is lost of them."""
        return [slot.plugged for slot in self._slots]

    # -- from then on -------------------------------------------------------------------------

    def reset(self) -> None:
        """Bring everything back to where a guest begins. No vCPU may be in the guest.

        RAM keeps what it has, as a PC's does over a reset, but for the images, which are read
        again. A device that doesn't answer after it is lost to the guest; one that was lost comes
        back if it can. Raises BootError, KvmError, GuestMemoryError.
        """
        from pyvmm.kvm.reset import reset

        # Interrupt lines go down before their controllers forget them, and the controllers are
        # anew before devices may raise theirs: a level that KVM has forgotten never ends.
        self.platform.reset()
        reset(self.vm)
        for vcpu in self.vcpus:
            self._processors.set_boot_msrs(vcpu)
        self._config_ports.reset()
        self._reset_or_lose(self.devices)
        # After that, as it may be now that one turns out to be lost whose server is back already.
        self.bring_back()
        self._reset_bridges()
        for plugged in self.devices:
            plugged.resets += plugged.function.guard.gone is None
        # Not before all DMA has ended.
        self._load().apply(self.vcpus[0])

    def bring_back(self) -> list[PluggedDevice]:
        """Plug in again what is lost and can be had; those that are back, and reset.

        People are told of each, and why others are not. No vCPU may be in the guest.
        """
        if self._openers is not None and self._openers.hung_up:
            return []
        back = [slot.plugged for slot in self._slots if slot.bring_back()]
        self._reset_or_lose(back)
        back = [plugged for plugged in back if plugged.function.guard.gone is None]
        for plugged in back:
            if plugged.function.bridge is not None:
                plugged.function.bridge.device_changed()
            self._notice(f"{plugged.device.name} is back")
        return back

    def _reset_or_lose(self, devices: Sequence[PluggedDevice]) -> None:
        for plugged, error in self._reset_devices(devices):
            plugged.lose(error)

    @property
    def held_by_others(self) -> bool:
        """Whether devices in other processes may hold up whoever uses them."""
        return self._openers is not None and bool(self._openers.connections)

    def hang_up(self) -> None:
        """Have all calls to them fail. Takes no lock: from any thread or signal handler."""
        if self._openers is not None:
            self._openers.hang_up()

    def close(self) -> None:
        """Idempotent. No vCPU may be running."""
        self.vcpus = []
        self.parts.close()


def _backing(config: VmConfig) -> str:
    """What RAM is made of: shared where another process is to map it, if the config doesn't say."""
    backing: str = config.memory.backing
    if backing == "auto":
        is_shared = any(device.process or device.socket for device in config.devices)
        backing = SHARED if is_shared else PRIVATE
    return backing
