# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kick: getting a vCPU's thread out of KVM_RUN, from any other thread, without a race.

A kick sets immediate_exit in the shared kvm_run, then signals the vCPU's thread. If the thread
is in KVM_RUN the signal ends that; if it is anywhere else, the flag ends its next KVM_RUN before
the guest runs. The flag stays until a run has come back for it, so that no kick is lost.

Source: the kernel's Documentation/virt/kvm/api.rst, "immediate_exit".
"""

from __future__ import annotations

import ctypes
import signal
import threading

from .errors import KvmLimitReached

# Byte offset of kvm_run.immediate_exit.
IMMEDIATE_EXIT = 1

_SIG_DFL, _SIG_IGN = None, 1  # as signal(2) returns them

_lock = threading.Lock()
_number = 0


def kick_signal() -> int:
    """The signal that interrupts KVM_RUN and does nothing else, in this whole process.

    It is the first real-time signal that the process has no handler for, for good. Raises
    KvmLimitReached if it has one for each.

    A handler set from Python would make work for the main thread, and could only be set there.
    So the handler is a C function that takes an int and touches nothing: abs(). signal() makes
    other system calls restart; KVM_RUN ends with EINTR all the same.
    """
    global _number
    with _lock:
        if not _number:
            libc = ctypes.CDLL(None)
            libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
            libc.signal.restype = ctypes.c_void_p
            for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
                others = libc.signal(number, ctypes.cast(libc.abs, ctypes.c_void_p))
                if others in (_SIG_DFL, _SIG_IGN):
                    _number = number
                    break
                libc.signal(number, others)
            else:
                raise KvmLimitReached(
                    "this process has handlers for all real-time signals, one of which "
                    "interrupts vCPUs: leave one free"
                )
        return _number


class Kick:
    """Who runs one vCPU, and how to interrupt them."""

    __slots__ = ("_blocked", "_kvm_run", "_lock", "_signal", "_thread")

    def __init__(self, kvm_run: memoryview) -> None:
        """kvm_run is the vCPU's shared page, as bytes. Raises KvmLimitReached."""
        self._signal = kick_signal()
        self._blocked = False
        self._kvm_run: memoryview | None = kvm_run
        # Reentrant: a signal handler of Python's may kick in the midst of a kick.
        self._lock = threading.RLock()
        self._thread = 0

    def enter(self) -> None:
        """The calling thread is going to run the vCPU. Raises RuntimeError if another does."""
        with self._lock:
            if self._thread or self._kvm_run is None:
                raise RuntimeError("the vCPU is closed, or runs on another thread")
            self._thread = threading.get_ident()
        # Whoever started this thread may wait for signals elsewhere, and have blocked them all.
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, (self._signal,))
        self._blocked = self._signal in mask

    def leave(self) -> None:
        """The calling thread runs the vCPU no more; it may end."""
        if self._blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, (self._signal,))
        with self._lock:
            self._thread = 0

    def kick(self) -> None:
        """End the present KVM_RUN, or else the next. Never blocks; does nothing once closed."""
        # Under the lock the thread can't end, and its id can't be somebody else's by now.
        with self._lock:
            if self._kvm_run is not None and not self._kvm_run[IMMEDIATE_EXIT]:
                self._kvm_run[IMMEDIATE_EXIT] = 1
                if self._thread:
                    signal.pthread_kill(self._thread, self._signal)

    def close(self) -> None:
        """Let go of kvm_run. Raises RuntimeError while a thread runs the vCPU."""
        with self._lock:
            if self._thread:
                raise RuntimeError("the vCPU is closed while it runs")
            self._kvm_run = None
