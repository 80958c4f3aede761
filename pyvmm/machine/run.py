# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Run: a guest's time from its first instruction to its end, over all the resets between."""

from __future__ import annotations

import threading
from time import monotonic

from pyvmm.boot import BootError
from pyvmm.kvm import HandlerFailed, KvmError, Shutdown, SystemEvent
from pyvmm.memory import GuestMemoryError
from pyvmm.uapi.kvm import KVM_SYSTEM_EVENT_RESET

from .errors import MachineStopped
from .latch import Latch
from .outcome import End, Outcome
from .vcpu_threads import VcpuThreads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.config import VmConfig
    from pyvmm.kvm import Exit

    from .hardware import Hardware

# Seconds that a device in another process may keep a vCPU for, after the end of the run. Then all
# of them are hung up on.
_GRACE = 1.0


class _Reset:
    """One that was asked for: why, whether by the guest, and whether it is over."""

    __slots__ = ("by_guest", "over", "why")

    def __init__(self, why: str, by_guest: bool) -> None:
        self.why = why
        self.by_guest = by_guest
        self.over = Latch()


class Run:
    """Decides what ends a run, and how; has the guest reset; knows what it has lost.

    There is one for each machine, from before that is built: its building can be ended too.
    ended is called with the outcome as soon as that is known, on any thread or in a signal handler.
    Methods are for any thread; of those that say what a guest does, most calls come on a vCPU's.
    """

    def __init__(
        self,
        config: VmConfig,
        hardware: Hardware,
        notice: Callable[[str], None],
        ended: Callable[[Outcome], None],
    ) -> None:
        self.outcome: Outcome | None = None
        self.threads: VcpuThreads | None = None
        self.started_at: float | None = None
        """By time.monotonic()."""
        self.resets = 0
        self.last_reset = ""
        """Why the last one came."""
        self._config = config
        self._hardware = hardware
        self._notice = notice
        self._tell_ended = ended
        self._first = threading.Lock()  # who ends the run takes it, for good
        self._ended = Latch()
        self._lock = threading.Lock()  # of what follows
        self._reset: _Reset | None = None  # asked for, or just being done
        self._resets_by_guest = 0
        self.device_errors: list[Exception] = []
        self._running = False

    # -- from its beginning to its end --------------------------------------------------------

    def prepare(self) -> None:
        """The hardware is built."""
        hardware = self._hardware
        self.threads = VcpuThreads(
            hardware.vcpus, hardware.ports, hardware.mmio, self._vcpu_left, self._bug
        )

    def start(self) -> None:
        """Let the guest run, or, if the run has been ended already, not a step of it.

        Raises MachineError, and the error of a device that was lost meanwhile.
        """
        threads = self.threads
        assert threads is not None
        with self._lock:
            self._running = self.outcome is None
            if self._running and self.device_errors:
                raise self.device_errors[0]
        if not self._running:
            threads.stop()
        self.started_at = monotonic()
        threads.start()

    def end(self, outcome: Outcome) -> None:
        """The run is over, and the first to say so decides how.

        From any thread, and from a signal handler, which may have come in the midst of this very
        method: so nothing here waits for a lock that isn't reentrant.
        """
        if not self._first.acquire(blocking=False):
            return
        self.outcome = outcome
        if self.threads is not None:
            self.threads.stop()
        else:
            self._hardware.hang_up()  # nothing runs yet, and nothing is going to
        self._tell_ended(outcome)
        self._ended.open()
        reset = self._reset
        if reset is not None:
            reset.over.open()

    def check_not_ended(self) -> None:
        """Raises MachineStopped."""
        if self.outcome is not None:
            raise MachineStopped(self.outcome.detail)

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end, at most timeout seconds; whether there is one."""
        return self._ended.wait(timeout)

    def finish(self) -> Outcome:
        """After its end: wait until no vCPU runs, except on the thread of one.

        What devices do from here on, while they are closed, is no part of the run.
        """
        outcome, threads = self.outcome, self.threads
        assert outcome is not None
        if threads is not None and not threads.has_caller:
            if not threads.join(_GRACE):
                self._take_from_devices(threads, outcome)
            with self._lock:
                if outcome.end is End.TIMEOUT and not outcome.report:
                    from .whereabouts import whereabouts

                    outcome.report = whereabouts(self._hardware.vcpus)
            self._count_devices(outcome)
        return outcome

    def _take_from_devices(self, threads: VcpuThreads, outcome: Outcome) -> None:
        """Get the vCPUs out of handlers that wait for devices in other processes."""
        if self._hardware.held_by_others:
            if self._count_devices(outcome):
                self._notice(
                    f"a device still keeps a vCPU {_GRACE:g} s after the end of the run; "
                    "all devices' servers are hung up on"
                )
            self._hardware.hang_up()
        threads.join()

    def _count_devices(self, outcome: Outcome) -> bool:
        with self._lock:
            if not self._running:
                return False
            self._running = False
            outcome.device_errors = tuple(self.device_errors)
        return True

    # -- what the guest does ------------------------------------------------------------------

    def exited(self, code: int) -> None:
        """It has written its code to the debug-exit port."""
        self.end(Outcome(End.EXIT, f"the guest exited with code {code}", code=code))

    def powered_off(self) -> None:
        self.end(Outcome(End.POWER_OFF, "the guest powered off"))

    def panicked(self, goes_on: bool) -> None:
        """Its kernel says so; with goes_on, that a crash kernel follows."""
        if goes_on:
            self._notice("the guest has panicked, and goes on with its crash kernel")
        elif self._config.on_panic == "exit":
            self.end(Outcome(End.PANIC, "the guest has panicked"))
        else:
            self._notice("the guest has panicked")

    def asked_for_reset(self, how: str) -> None:
        self._reset_by_guest(f"the guest asked for a reset, by {how}")

    def _reset_by_guest(self, why: str) -> None:
        config = self._config
        if config.on_reset == "exit":
            self.end(Outcome(End.RESET, f"{why}; that ends the run (on_reset: exit)"))
        elif config.max_resets is not None and self._resets_by_guest >= config.max_resets:
            self.end(Outcome(End.RESET, f"{why}; it has had its {config.max_resets} (max_resets)"))
        else:
            self.request_reset(why, by_guest=True)

    def _vcpu_left(self, exit: Exit) -> bool:
        """A vCPU came out of the guest: for good, unless this is True."""
        if isinstance(exit, SystemEvent) and not exit.is_crash:
            if exit.type == KVM_SYSTEM_EVENT_RESET:
                self._reset_by_guest(str(exit))
            else:
                self.end(Outcome(End.POWER_OFF, str(exit)))
        elif isinstance(exit, Shutdown) and self._config.on_triple_fault == "reset":
            self._reset_by_guest(f"{exit.vcpu} met a triple fault")
        elif isinstance(exit, HandlerFailed):
            self.end(Outcome(End.INTERNAL, str(exit), cause=exit.error))
        else:
            report = exit.report(self._hardware.memory.read)
            self.end(Outcome(End.CRASH, str(exit), report=report))
        return self.outcome is None

    def _bug(self, error: BaseException) -> None:
        """On a vCPU's thread: pyvmm itself has failed, or who was called back."""
        self.end(Outcome(End.INTERNAL, f"{type(error).__name__}: {error}", cause=error))

    # -- resets -------------------------------------------------------------------------------

    def request_reset(self, why: str, *, by_guest: bool = False) -> Latch:
        """Have the guest reset, without waiting. What is returned opens when it boots again.

        Or when the run has ended. Not before start(), and not from a signal handler.
        """
        assert self.threads is not None
        with self._lock:
            reset = self._reset
            if reset is None:  # else the guest has not run since, or is just about to come out
                reset = self._reset = _Reset(why, by_guest)
                self.threads.request(self._do_reset)
        if self.outcome is not None:
            reset.over.open()
        return reset.over

    def _do_reset(self) -> None:
        """On a vCPU's thread, while none is in the guest."""
        reset = self._reset
        assert reset is not None
        try:
            self._hardware.reset()
        except (BootError, GuestMemoryError, KvmError) as error:
            self.end(Outcome(End.RESET_FAILED, f"{reset.why}; that failed", cause=error))
            return
        except BaseException as error:
            self._bug(error)  # before any other vCPU runs
            return
        if self.outcome is not None:  # ended meanwhile: the guest won't boot any more
            return
        with self._lock:
            self._reset = None
            self.resets += 1
            self.last_reset = reset.why
            self._resets_by_guest += reset.by_guest
        reset.over.open()

    # -- its devices --------------------------------------------------------------------------

    def lost_device(self, error: Exception, until: str = "") -> None:
        """A device is no longer there. A guest that runs goes on without it.

        until says, for people, what has it come back, if anything does.
        """
        with self._lock:
            self.device_errors.append(error)
            running = self._running
        if running:
            self._tell_absent(error, until)

    def absent_device(self, error: Exception, until: str) -> None:
        """One that was lost before could not be had back; no news once the run has ended."""
        if self.outcome is None:
            self._tell_absent(error, until)

    def _tell_absent(self, error: Exception, until: str) -> None:
        until = until and f" until {until}"
        try:
            self._notice(f"{error}; the guest goes on without the device{until}")
        except BaseException as bug:  # on a device's thread perhaps, which has its own work
            self._bug(bug)

    def settle(self) -> None:
        """Wait until no vCPU is in a handler in which it is now. Not from a vCPU's thread."""
        if self.threads is not None:
            self.threads.settle()
