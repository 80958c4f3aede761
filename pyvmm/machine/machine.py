# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machine: one VM, built from a config out of all the other rooms, run, and torn down."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext, suppress
from time import monotonic

from .console import Console
from .errors import MachineError, MachineStopped
from .hardware import Hardware
from .images import find_images
from .latch import Latch
from .outcome import End, Outcome
from .phases import Phases
from .run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from pyvmm.config import VmConfig
    from pyvmm.kvm import Vm
    from pyvmm.memory import GuestMemory
    from pyvmm.pci.bus import Bus

    from .plugged_device import PluggedDevice

# Seconds that all devices in other processes have in order to be let go of. Then they are hung up
# on.
_LEAVE = 2.0

# Seconds for vCPUs to come out of handlers, to be looked at.
_PATIENCE = 1.0


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
    console's sinks do, stop() and reset() do not wait, and close() is refused.
    """

    memory: GuestMemory
    """From build() on; so are the next two."""
    vm: Vm
    bus: Bus

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
        self.notice = notice
        self.hardware = Hardware(config, self.console, notice, self.phases)
        self.ports, self.mmio = self.hardware.ports, self.hardware.mmio
        self._run = Run(config, self.hardware, notice, self._ended)
        self._tell_ended = ended
        self._tell_undone = undone
        self._life = threading.RLock()  # who builds, starts or closes it
        self._built = False
        self._closed = False
        self._closing = False

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
                images = find_images(self.config, self.notice)
                if self.config.timeout is not None:
                    self._end_after(self.config.timeout)
                self.hardware.build(self._run, images)
                self.memory, self.vm = self.hardware.memory, self.hardware.vm
                self.bus = self.hardware.bus
                self._run.prepare()

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
            threads = self._run.threads
            if self._closed or threads is None or threads.started:
                closed = "this one is closed" if self._closed else "this one has been started"
                raise RuntimeError(f"a machine is built and runs once; {closed}")
            with self._closed_on_failure():
                self._run.start()
        self.phases.done("vCPU threads")

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            # A device that was lost explains best what came of it; unless we have hung up on it.
            lost = self._run.device_errors[:1] if isinstance(error, Exception) else []
            outcome = self._run.outcome if isinstance(error, Exception) else None
            self.close()
            if outcome is not None:
                raise MachineStopped(f"stopped before it was built: {outcome.detail}") from None
            if lost:
                raise lost[0] from None
            raise

    def reset(self, reason: str = "reset") -> bool:
        """Reset the guest, as a PC's reset button does; returns when it boots again.

        RAM keeps its contents, but for the images, which are read again. False if the run has
        ended instead; what can't be reset ends it. On a vCPU's thread it is a mere request, and
        False. Raises RuntimeError before start().
        """
        over = self._ask_for_reset(reason)
        threads = self._run.threads
        if threads is None or threads.has_caller:
            return False
        over.wait()
        return self._run.outcome is None

    def request_reset(self, reason: str) -> None:
        """Have the guest reset, without waiting. Raises RuntimeError before start()."""
        self._ask_for_reset(reason)

    def replug(self) -> list[str]:
        """Have back what was lost and can be had, as a reset would, without one; their names.

        The guest, which is held meanwhile, finds them as at power-on, once it looks for them: its
        driver doesn't know the new device by the old one's state. Raises RuntimeError on a
        vCPU's thread, for which it has to wait, and MachineError if another one is kept by a
        device, or whoever takes the output, for more than a second.
        """
        threads = self._run.threads
        if threads is None or self._run.outcome is not None:
            return []
        if threads.has_caller:
            raise RuntimeError("devices can't be plugged in again on a vCPU's thread")
        with threads.paused(_PATIENCE) as busy:
            if busy:
                names = " and ".join(busy)
                raise MachineError(f"{names} can't be held to plug devices in; try it again")
            if self._run.outcome is not None:  # by now: nothing is to be plugged in any more
                return []
            return [plugged.device.name for plugged in self.hardware.bring_back()]

    def _ask_for_reset(self, reason: str) -> Latch:
        """What opens when it boots again, or when the run has ended."""
        threads = self._run.threads
        if threads is not None and threads.started:
            return self._run.request_reset(reason)
        if self._run.outcome is None:
            raise RuntimeError("a machine is reset while it runs; this one has not been started")
        over = Latch()
        over.open()
        return over

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Wait for the end, at most timeout seconds; None if there is none yet."""
        return self._run.finish() if self._run.wait(timeout) else None

    def stop(self, reason: str = "stopped") -> Outcome:
        """Stop the guest, if it hasn't ended by itself, and say how it ended.

        On a vCPU's thread it is a mere request.
        """
        self.request_stop(reason)
        return self._run.finish()

    def request_stop(self, reason: str) -> None:
        """Have the guest stopped, without waiting. From any thread or signal handler."""
        self._run.end(Outcome(End.STOPPED, reason))

    def _ended(self, outcome: Outcome) -> None:
        self.console.ended(outcome.detail)
        self._tell_ended(outcome)

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None before."""
        return self._run.outcome

    def close(self) -> None:
        """Stop the guest and undo everything, in reverse. Idempotent.

        Whoever comes while another thread does it waits for that. Raises RuntimeError on a
        vCPU's thread, for which it has to wait.
        """
        if self._run.threads is not None and self._run.threads.has_caller:
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
        threads = self._run.threads
        if threads is not None:
            self.stop("closed")
            with threads.paused():  # who looks at the vCPUs finds none from here on
                self.hardware.vcpus = []
        self._closed = True
        try:
            with self._hung_up_after(_LEAVE):
                self.hardware.close()
        finally:
            self._tell_undone()
            self.console.close()

    @contextmanager
    def _hung_up_after(self, seconds: float) -> Iterator[None]:
        """Devices in other processes may hold up the block for so long, and no longer."""
        if not self.hardware.held_by_others:
            yield
            return
        timer = _timer(seconds, self.hardware.hang_up)
        with suppress(RuntimeError):  # no thread can be started: they hold it up as they like
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if timer.ident is not None:
                timer.join()

    def _end_after(self, seconds: float) -> None:
        def end() -> None:
            what = "is not built" if self._run.threads is None else "has not ended"
            self._run.end(Outcome(End.TIMEOUT, f"the guest {what} within {seconds:g} s"))

        timer = _timer(seconds, end)
        timer.start()
        self.hardware.parts.callback(_join, timer)
        self.hardware.parts.callback(timer.cancel)

    # -- what one can see of it ---------------------------------------------------------------

    @property
    def is_built(self) -> bool:
        """All of it is there; also after it was closed."""
        return self._run.threads is not None

    @property
    def devices(self) -> list[PluggedDevice]:
        """Those of the config, in its order, from build() on; one that comes back is another."""
        return self.hardware.devices

    @property
    def uptime(self) -> float | None:
        """Seconds since start(); None before."""
        started_at = self._run.started_at
        return None if started_at is None else monotonic() - started_at

    @property
    def resets(self) -> int:
        """How often the guest has been reset, by itself or by others."""
        return self._run.resets

    @property
    def last_reset(self) -> str:
        """Why it was the last time; empty if it never was."""
        return self._run.last_reset

    def whereabouts(self) -> str:
        """Where each vCPU is: a line for each. The guest is held for that moment.

        One that is in a handler and doesn't come out within a second is said to be there.
        """
        from .whereabouts import whereabouts

        threads = self._run.threads
        if threads is None:
            return ""
        with threads.paused(_PATIENCE) as busy:
            return whereabouts(self.hardware.vcpus, busy)

    def stats(self) -> dict[str, int]:
        """KVM's counters of exits and the like, summed over the vCPUs; see Vcpu.stats().

        From build() to close(); none before and after. The first time the guest is held for a
        moment; a vCPU that a device keeps then is left out.
        """
        total: dict[str, int] = {}
        with self._out_of_the_guest() as busy:
            for vcpu in self.hardware.vcpus:
                if not vcpu.has_stats and str(vcpu) in busy:
                    continue
                for name, value in vcpu.stats().items():
                    if isinstance(value, int):
                        total[name] = total.get(name, 0) + value
        return total

    def _out_of_the_guest(self) -> AbstractContextManager[Collection[str]]:
        """Hold the guest for the block, if that has to wait for a vCPU to come out."""
        threads = self._run.threads
        if threads is None or all(vcpu.has_stats for vcpu in self.hardware.vcpus):
            return nullcontext(())
        return threads.paused(_PATIENCE)


def _join(timer: threading.Timer) -> None:
    """It may be the timer itself that closes the machine: who is told of the end may do so."""
    if timer is not threading.current_thread():
        timer.join()


def _timer(seconds: float, do: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    return timer
