# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machine: one VM, built from a config out of all the other rooms, run, and torn down."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager, suppress

from pyvmm import boot
from pyvmm.kvm import BOOT_MSRS, HandlerFailed, System, SystemEvent, guest_cpuid, physical_bits
from pyvmm.memory import THP, AddressMap, GuestMemory, layout, thp_enabled
from pyvmm.pci.allocator import Windows
from pyvmm.pci.bus import Bus
from pyvmm.pci.host_bridge import ConfigPorts, Ecam, HostBridge
from pyvmm.pci.pins import intx_gsi
from pyvmm.uapi.kvm import KVM_SYSTEM_EVENT_RESET

from .console import Console
from .errors import MachineStopped
from .images import find_images
from .latch import Latch
from .outcome import End, Outcome
from .phases import Phases
from .platform import Platform
from .vcpu_threads import VcpuThreads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyvmm.config import VmConfig
    from pyvmm.kvm import Exit, Vcpu

    from .devices import DeviceOpeners
    from .plugged_device import PluggedDevice
    from .topology import Topology

# Seconds that a device in another process may keep a vCPU for, after the end of the run; and
# that all of them have in order to be let go of. Then they are hung up on.
_GRACE = 1.0
_LEAVE = 2.0


class Machine:
    """One VM, for one run; a context manager.

        with Machine(config) as vm:
            vm.start()
            vm.console.expect("login:", timeout=10)
            outcome = vm.stop()

    Leaving the block stops the guest and undoes everything. notice takes lines for people about
    odd things that guests and devices do; by default nobody reads them. phases, if given, has
    what came before. ended is called with the outcome as soon as it is known, on any thread or in
    a signal handler; undone when all is taken back but the console's output, by close().

    All methods may be called on any thread. On a vCPU's, that is in notice and in what the
    console's sinks do, stop() does not wait, and close() is refused.
    """

    def __init__(
        self,
        config: VmConfig,
        notice: Callable[[str], None] = lambda _: None,
        phases: Phases | None = None,
        *,
        ended: Callable[[Outcome], None] = lambda _: None,
        undone: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.console = Console()
        self.phases = phases or Phases()
        self.ports, self.mmio = AddressMap("ports"), AddressMap("MMIO")
        self.notice = notice
        self.devices: list[PluggedDevice] = []
        self._tell_ended = ended
        self._tell_undone = undone
        self._life = threading.RLock()  # who builds, starts or closes it
        self._built = False
        self._closed = False
        self._closing = False
        self._first = threading.Lock()  # who ends the run takes it, for good
        self._ended = Latch()
        self._outcome: Outcome | None = None
        self._lock = threading.Lock()  # of the next two
        self._device_errors: list[Exception] = []
        self._running = False
        self._vcpus: list[Vcpu] = []
        self._threads: VcpuThreads | None = None
        self._openers: DeviceOpeners | None = None
        self._topology: Topology | None = None
        self._images: tuple[str | None, str | None] = (None, None)
        self._parts = ExitStack()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life ---------------------------------------------------------------------------------

    def build(self) -> None:
        """Build the VM, all but letting the guest run. The time limit counts from here, or from
        when the guest's images are there, if they have to be fetched.

        Raises what stands in the way: DebianError, LinuxError, BootError, KvmError,
        GuestMemoryError, VfioError, ModelError, PciError, MachineError (MachineStopped if it is
        stopped meanwhile). Then nothing is left behind.
        """
        with self._life:
            if self._built:
                raise RuntimeError("a machine is built and runs once")
            self._built = True
            with self._closed_on_failure():
                self._images = find_images(self.config, self.notice)
                if self.config.timeout is not None:
                    self._end_after(self.config.timeout)
                self._build()

    def start(self) -> None:
        """Let the guest run, or, if a stop was requested already, not a step of it.

        Builds the VM if need be; raises what build() raises, but for MachineStopped: wait()
        says how that came.
        """
        with self._life:
            if not self._built:
                try:
                    self.build()
                except MachineStopped:
                    return
            threads = self._threads
            if self._closed or threads is None or threads.started:
                closed = "this one is closed" if self._closed else "this one has been started"
                raise RuntimeError(f"a machine is built and runs once; {closed}")
            with self._closed_on_failure():
                with self._lock:
                    self._running = self._outcome is None
                    if self._running and self._device_errors:
                        raise self._device_errors[0]
                if not self._running:
                    threads.stop()
                threads.start()
        self.phases.done("vCPU threads")

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            # A device that was lost explains best what came of it; unless we have hung up on it.
            lost = self._device_errors[:1] if isinstance(error, Exception) else []
            outcome = self._outcome if isinstance(error, Exception) else None
            self.close()
            if outcome is not None:
                raise MachineStopped(f"stopped before it was built: {outcome.detail}") from None
            if lost:
                raise lost[0] from None
            raise

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Wait for the end, at most timeout seconds; None if there is none yet."""
        if not self._ended.wait(timeout):
            return None
        return self._finished()

    def stop(self, reason: str = "stopped") -> Outcome:
        """Stop the guest, if it hasn't ended by itself, and say how it ended.

        On a vCPU's thread it is a mere request.
        """
        self.request_stop(reason)
        return self._finished()

    def request_stop(self, reason: str) -> None:
        """Have the guest stopped, without waiting. From any thread or signal handler."""
        self._end(Outcome(End.STOPPED, reason))

    def _finished(self) -> Outcome:
        outcome = self._outcome
        assert outcome is not None
        threads = self._threads
        if threads is not None and not threads.has_caller:
            if not threads.join(_GRACE):
                self._take_from_devices(threads, outcome)
            with self._lock:
                if outcome.end is End.TIMEOUT and not outcome.report:
                    from .whereabouts import whereabouts

                    outcome.report = whereabouts(self._vcpus)
            self._count_devices(outcome)
        return outcome

    def _take_from_devices(self, threads: VcpuThreads, outcome: Outcome) -> None:
        """Get the vCPUs out of handlers that wait for devices in other processes."""
        if self._openers is not None and self._openers.connections:
            if self._count_devices(outcome):
                self.notice(
                    f"a device still keeps a vCPU {_GRACE:g} s after the end of the run; "
                    "all devices' servers are hung up on"
                )
            self._openers.hang_up()
        threads.join()

    def _count_devices(self, outcome: Outcome) -> bool:
        """What devices do from here on, while they are closed, is no part of the run."""
        with self._lock:
            if not self._running:
                return False
            self._running = False
            outcome.device_errors = tuple(self._device_errors)
        return True

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None before."""
        return self._outcome

    def close(self) -> None:
        """Stop the guest and undo everything, in reverse. Idempotent.

        Whoever comes while another thread does it waits for that. Raises RuntimeError on a
        vCPU's thread, for which it has to wait.
        """
        if self._threads is not None and self._threads.has_caller:
            raise RuntimeError(
                "a machine can't be closed on a vCPU's thread; request_stop() there, and close it "
                "on another"
            )
        if not self._life.acquire(blocking=False):
            self.request_stop("closed")  # whoever builds it need not go on
            self._life.acquire()
        try:
            # It may also be called back by what it closes.
            if not self._closing:
                self._closing = True
                self._close()
        finally:
            self._closing = False
            self._life.release()

    def _close(self) -> None:
        self._built = True
        if self._threads is not None:
            self.stop("closed")
        self._closed = True
        try:
            with self._hung_up_after(_LEAVE):
                self._parts.close()
        finally:
            self._tell_undone()
            self.console.close()

    @contextmanager
    def _hung_up_after(self, seconds: float) -> Iterator[None]:
        """Devices in other processes may hold up the block for so long, and no longer."""
        if self._openers is None or not self._openers.connections:
            yield
            return
        timer = _timer(seconds, self._openers.hang_up)
        with suppress(RuntimeError):  # no thread can be started: they hold it up as they like
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if timer.ident is not None:
                timer.join()

    # -- what one can see of it ---------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """KVM's counters of exits and the like, summed over the vCPUs; see Vcpu.stats().

        From build() to close(); none before and after.
        """
        total: dict[str, int] = {}
        for vcpu in self._vcpus:
            for name, value in vcpu.stats().items():
                if isinstance(value, int):
                    total[name] = total.get(name, 0) + value
        return total

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        config, parts, done = self.config, self._parts, self.phases.done
        if config.devices:
            # First of all, so that their processes start while the rest is built.
            from .devices import DeviceOpeners
            from .topology import Topology

            self._topology = Topology(config.devices)
            self._openers = DeviceOpeners(config.devices)
            parts.callback(self._openers.close)
            done("model processes")
        self.memory = parts.enter_context(GuestMemory(config.memory.size, config.memory.backing))
        if config.memory.backing == THP and not thp_enabled():
            self.notice(
                "memory.backing is thp, but this host has no transparent huge pages for shared "
                "memory: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
            )
        done("guest RAM")
        system = parts.enter_context(System())
        self.vm = vm = parts.enter_context(system.create_vm())
        leaves = system.supported_cpuid()
        windows = Windows(config.memory.size, physical_bits(leaves))
        done("KVM")
        # The image, whose ROM is a memslot, and all of RAM come before the irqchip: creating
        # that has KVM wait for a grace period at every later change of memslots.
        entry = self._load((windows.mmio64.start, windows.mmio64.end))
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
            transmit=self.console.output,
            room=self.console.room,
            exit_guest=self._exit_guest,
            reset=self._reset,
            power_off=lambda: self._end(Outcome(End.POWER_OFF, "the guest powered off")),
        )
        self.console.connect(self.platform.serial.receive)
        done("platform")
        self._build_pci(windows)
        done("PCI")
        for index in range(config.cpus):
            vcpu = vm.create_vcpu(index)
            vcpu.set_cpuid(guest_cpuid(leaves, index, config.cpus))
            vcpu.set_msrs(BOOT_MSRS)
        entry.apply(vm.vcpus[0])
        done("vCPUs")
        if self._outcome is not None:
            raise MachineStopped(self._outcome.detail)  # its devices have been hung up on
        self._vcpus = vm.vcpus
        self._threads = VcpuThreads(vm.vcpus, self.ports, self.mmio, self._vcpu_left, self._bug)

    def _load(self, mmio64: tuple[int, int]) -> boot.Entry:
        config, done = self.config, self.phases.done
        if config.firmware is not None:
            return boot.load_firmware(self.memory, config.firmware, done=done)
        kernel, initrd = self._images
        assert kernel is not None
        return boot.load_kernel(
            self.memory,
            kernel,
            cpus=config.cpus,
            mmio64=mmio64,
            last_bus=self._topology.last_bus if self._topology is not None else 0,
            intx_gsi=intx_gsi,
            command_line=config.cmdline,
            initrd=initrd,
            done=done,
        )

    def _build_pci(self, windows: Windows) -> None:
        self.bus = Bus()
        self.bus.add(HostBridge(), device=0)
        ConfigPorts(self.bus, lambda _: self._reset("the reset control register")).add_to(
            self.ports
        )
        Ecam(self.bus).add_to(self.mmio)
        if self._openers is not None:
            self._plug(self._openers, windows)

    def _plug(self, openers: DeviceOpeners, windows: Windows) -> None:
        from .dma import DmaSpaces
        from .pci_devices import put_on_bus
        from .plugged_device import PluggedDevice

        spaces = DmaSpaces(self.memory, self.notice)
        for open in openers:
            if self._outcome is not None:
                raise MachineStopped(self._outcome.detail)
            plugged = PluggedDevice(
                open,
                self._device_lost,
                vm=self.vm,
                memory=self.memory,
                spaces=spaces,
                ports=self.ports,
                mmio=self.mmio,
                notice=self.notice,
                settle=self._settle,
            )
            self.devices.append(self._parts.enter_context(plugged))
        assert self._topology is not None
        functions = [plugged.function for plugged in self.devices]
        put_on_bus(functions, self._topology, self.bus, windows)

    def _settle(self) -> None:
        if self._threads is not None:
            self._threads.settle()

    def _end_after(self, seconds: float) -> None:
        def end() -> None:
            what = "is not built" if self._threads is None else "has not ended"
            self._end(Outcome(End.TIMEOUT, f"the guest {what} within {seconds:g} s"))

        timer = _timer(seconds, end)
        timer.start()
        self._parts.callback(timer.join)
        self._parts.callback(timer.cancel)

    # -- the end ------------------------------------------------------------------------------

    def _end(self, outcome: Outcome) -> None:
        """The run is over, and the first to say so decides how.

        From any thread, and from a signal handler, which may have come in the midst of this very
        method: so nothing here waits for a lock that isn't reentrant.
        """
        if not self._first.acquire(blocking=False):
            return
        self._outcome = outcome
        if self._threads is not None:
            self._threads.stop()
        elif self._openers is not None:
            self._openers.hang_up()  # nothing runs yet, and nothing is going to
        self.console.ended()
        self._tell_ended(outcome)
        self._ended.open()

    def _exit_guest(self, code: int) -> None:
        self._end(Outcome(End.EXIT, f"the guest exited with code {code}", code=code))

    def _reset(self, how: str) -> None:
        self._end(Outcome(End.RESET, f"the guest asked for a reset, by {how}"))

    def _vcpu_left(self, exit: Exit) -> None:
        """On the vCPU's thread: it came out of the guest for good."""
        if isinstance(exit, SystemEvent) and not exit.is_crash:
            end = End.RESET if exit.type == KVM_SYSTEM_EVENT_RESET else End.POWER_OFF
            self._end(Outcome(end, str(exit)))
        elif isinstance(exit, HandlerFailed):
            self._end(Outcome(End.INTERNAL, str(exit), cause=exit.error))
        else:
            report = exit.report(self.memory.read)
            self._end(Outcome(End.CRASH, str(exit), report=report))

    def _bug(self, error: BaseException) -> None:
        """On a vCPU's thread: pyvmm itself has failed, or who was called back."""
        self._end(Outcome(End.INTERNAL, f"{type(error).__name__}: {error}", cause=error))

    def _device_lost(self, error: Exception) -> None:
        """On any thread: a device is no longer there. A guest that runs goes on without it."""
        with self._lock:
            self._device_errors.append(error)
            running = self._running
        if running:
            try:
                self.notice(f"{error}; the guest goes on without the device")
            except BaseException as bug:  # on a device's thread perhaps, which has its own work
                self._bug(bug)


def _timer(seconds: float, do: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    return timer
