# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""One thread for each vCPU: run, and say what it came out for."""

from __future__ import annotations

import threading
from time import monotonic

from pyvmm.kvm import KICKED, run

from .errors import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyvmm.kvm import Exit, Vcpu
    from pyvmm.memory import AddressMap


class VcpuThreads:
    """Owns the threads that run a VM's vCPUs.

    on_exit is called on the vCPU's thread with each exit that is no port or MMIO access and no
    kick, on_bug with an exception that no exit stands for; after it, that vCPU runs no more.
    """

    def __init__(
        self,
        vcpus: Sequence[Vcpu],
        ports: AddressMap,
        mmio: AddressMap,
        on_exit: Callable[[Exit], None],
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
        # Of those that run, by their ids: how often they have come out of run().
        self._turns: dict[int, int] = {}
        self._turned = threading.Condition()

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

    def _run(self, vcpu: Vcpu) -> None:
        ident = threading.get_ident()
        self._turns[ident] = 0
        try:
            while not self._stopping:
                exit = run(vcpu, self._ports, self._mmio)
                if exit is not KICKED:
                    self._on_exit(exit)
                    return
                with self._turned:
                    self._turns[ident] += 1
                    self._turned.notify_all()
        except BaseException as error:
            # SystemExit too. Nobody waits for this thread before the run has ended: it has to
            # end now.
            self._on_bug(error)
        finally:
            with self._turned:
                del self._turns[ident]
                self._turned.notify_all()

    @property
    def has_caller(self) -> bool:
        """Whether it is one of these threads that asks: it can't wait for itself."""
        return threading.get_ident() in self._turns

    def settle(self) -> None:
        """Wait until no vCPU is in a handler in which it is now. Not from a vCPU's thread.

        What has been changed before is what they all see from here on.
        """
        with self._turned:
            before = list(self._turns.items())
            for vcpu in self._vcpus:
                vcpu.kick()
            self._turned.wait_for(
                lambda: all(self._turns.get(ident) != turns for ident, turns in before)
            )

    def stop(self) -> None:
        """Have all vCPUs come out of the guest. Does not wait; from any thread."""
        self._stopping = True
        for vcpu in self._vcpus:
            vcpu.kick()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no vCPU runs, after stop(). Not from a vCPU's thread.

        A vCPU that is in a handler comes out of that first: False if one has not after timeout
        seconds.
        """
        deadline = None if timeout is None else monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
            if thread.is_alive():
                return False
        return True
