# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""One thread for each vCPU: run, say what it came out for, and wait where the guest must not run.

Between two runs each thread passes a gate. Whoever shuts it has all vCPUs out of the guest, each
with its last access ended, so that their state is whole: to be looked at, or to be reset.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import monotonic, sleep

from pyvmm.kvm import KICKED, run

from .errors import MachineError
from .latch import Latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyvmm.kvm import Exit, Vcpu
    from pyvmm.memory import AddressMap

# Seconds that the guest has between two looks at its vCPUs: whoever looks again and again would
# otherwise shut the gate before they have passed it.
_GUESTS_SHARE = 0.01


class VcpuThreads:
    """Owns the threads that run a VM's vCPUs.

    on_exit is called on the vCPU's thread with each exit that is no port or MMIO access and no
    kick, and says whether the vCPU is going to run again; on_bug is called with an exception that
    no exit stands for, after which it doesn't.
    """

    def __init__(
        self,
        vcpus: Sequence[Vcpu],
        ports: AddressMap,
        mmio: AddressMap,
        on_exit: Callable[[Exit], bool],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._vcpus = vcpus
        self._ports = ports
        self._mmio = mmio
        self._on_exit = on_exit
        self._on_bug = on_bug
        self.started = False
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        # Of those that run, by their ids: how often they have come to the gate.
        self._turns: dict[int, int] = {}
        self._at_gate: set[int] = set()
        self._paused = False
        self._looked = 0.0  # when the last look ended
        # Not the condition: a signal handler may have to let the threads through.
        self._gate = Latch()
        self._gate.open()
        self._job: Callable[[], None] | None = None

    def start(self) -> None:
        """Let all vCPUs run, once. Raises MachineError."""
        self.started = True
        for vcpu in self._vcpus:
            thread = threading.Thread(target=self._run, args=(vcpu,), name=str(vcpu), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise MachineError(
                    f"starting a thread for {vcpu}: {error}; "
                    "raise the limit on processes (ulimit -u), or give the guest fewer cpus"
                ) from None
            self._threads.append(thread)

    # -- on a vCPU's thread -------------------------------------------------------------------

    def _run(self, vcpu: Vcpu) -> None:
        ident = threading.get_ident()
        with self._changed:
            self._turns[ident] = 0
        try:
            self._pass_gate(ident)
            while not self._stopping:
                exit = run(vcpu, self._ports, self._mmio)
                if exit is not KICKED and not self._on_exit(exit):
                    return
                self._pass_gate(ident)
        except BaseException as error:
            # SystemExit too. Nobody waits for this thread before the run has ended: it has to
            # end now.
            self._on_bug(error)
        finally:
            with self._changed:
                del self._turns[ident]
                self._at_gate.discard(ident)
                self._changed.notify_all()

    def _pass_gate(self, ident: int) -> None:
        with self._changed:
            self._turns[ident] += 1
            self._at_gate.add(ident)
            self._changed.notify_all()
            job, self._job = self._job, None
        if job is not None:
            with self._held(None):
                if not self._stopping:
                    job()
        while True:
            self._gate.wait()
            with self._changed:
                if self._stopping or not self._paused:
                    self._at_gate.discard(ident)
                    return

    @property
    def has_caller(self) -> bool:
        """Whether it is one of these threads that asks: it can't wait for itself."""
        return threading.get_ident() in self._turns

    # -- from any thread ----------------------------------------------------------------------

    def request(self, job: Callable[[], None]) -> None:
        """Have job() done on a vCPU's thread while no vCPU is in the guest. Does not wait.

        A vCPU that asks for it in a handler does not get back into the guest before. One job
        takes the place of another that was not begun. What is asked for before start() waits.
        """
        with self._changed:
            self._job = job
        self._kick()

    @contextmanager
    def paused(self, timeout: float | None = None) -> Iterator[list[str]]:
        """Have no vCPU in the guest for the length of the block. Not from a vCPU's handler.

        A vCPU that is in a handler comes out of that first. What the block gets are the names of
        those that have not after timeout seconds; of all that run, if it was somebody else's turn
        for so long. Where the threads are to end, they end, block or no block. After a block the
        guest runs for a moment before the next one begins.
        """
        sleep(max(0.0, self._looked + _GUESTS_SHARE - monotonic()))
        with self._held(timeout) as busy:
            try:
                yield busy
            finally:
                self._looked = monotonic()

    @contextmanager
    def _held(self, timeout: float | None) -> Iterator[list[str]]:
        left = _countdown(timeout)
        with self._changed:
            ours = self._changed.wait_for(lambda: not self._paused, left())
            if ours:
                self._paused = True
                self._gate = Latch()
                if self._stopping:
                    self._gate.open()
        try:
            yield self._wait_for_all(left) if ours else [str(vcpu) for vcpu in self._vcpus]
        finally:
            if ours:
                with self._changed:
                    self._paused = False
                    self._gate.open()
                    self._changed.notify_all()

    def _wait_for_all(self, left: Callable[[], float | None]) -> list[str]:
        self._kick()
        with self._changed:
            self._changed.wait_for(lambda: self._at_gate.issuperset(self._turns), left())
            missing = self._turns.keys() - self._at_gate
            return [thread.name for thread in self._threads if thread.ident in missing]

    def settle(self) -> None:
        """Wait until no vCPU is in a handler in which it is now. Not from a vCPU's thread.

        What has been changed before is what they all see from here on.
        """
        with self._changed:
            before = list(self._turns.items())
            self._kick()
            self._changed.wait_for(
                lambda: all(self._turns.get(ident) != turns for ident, turns in before)
            )

    def _kick(self) -> None:
        for vcpu in self._vcpus:
            vcpu.kick()

    def stop(self) -> None:
        """Have all vCPUs come out of the guest. Does not wait; also from a signal handler."""
        self._stopping = True
        self._gate.open()
        self._kick()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no vCPU runs, after stop(), and nobody looks. Not from a vCPU's thread.

        A vCPU that is in a handler comes out of that first: False if one has not after timeout
        seconds.
        """
        left = _countdown(timeout)
        for thread in self._threads:
            thread.join(left())
            if thread.is_alive():
                return False
        with self._changed:
            return self._changed.wait_for(lambda: not self._paused, left())


def _countdown(timeout: float | None) -> Callable[[], float | None]:
    """What is left of so many seconds from now on; None of None."""
    if timeout is None:
        return lambda: None
    deadline = monotonic() + timeout
    return lambda: max(0.0, deadline - monotonic())
