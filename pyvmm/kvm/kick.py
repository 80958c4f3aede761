# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kick: getting a vCPU's thread out of KVM_RUN, from any other thread, without a race.

A kick sets immediate_exit in the shared kvm_run, then signals the vCPU's thread. If the thread
is in KVM_RUN the signal ends that; if it is anywhere else, the flag ends its next KVM_RUN before
the guest runs. The flag stays until a run has come back for it, so that no kick is lost.

Source: the kernel's Documentation/virt/kvm/api.rst, "immediate_exit".
"""

from __future__ import annotations

import ctypes
import threading
from signal import SIGRTMIN, pthread_kill

KICK_SIGNAL = int(SIGRTMIN)

# Byte offset of kvm_run.immediate_exit.
IMMEDIATE_EXIT = 1

_prepare_lock = threading.Lock()
_prepared = False


def _prepare_signal() -> None:
    """Have KICK_SIGNAL interrupt KVM_RUN and do nothing else, in this whole process.

    A handler set from Python would make work for the main thread, and could only be set there.
    So the handler is a C function that takes an int and touches nothing: abs(). signal() makes
    other system calls restart; KVM_RUN ends with EINTR all the same.
    """
    global _prepared
    with _prepare_lock:
        if not _prepared:
            libc = ctypes.CDLL(None)
            libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
            libc.signal.restype = ctypes.c_void_p
            libc.signal(KICK_SIGNAL, ctypes.cast(libc.abs, ctypes.c_void_p))
            _prepared = True


class Kick:
    """Who runs one vCPU, and how to interrupt them."""

    __slots__ = ("_kvm_run", "_lock", "_thread")

    def __init__(self, kvm_run: memoryview) -> None:
        """kvm_run is the vCPU's shared page, as bytes."""
        _prepare_signal()
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

    def leave(self) -> None:
        """The calling thread runs the vCPU no more; it may end."""
        with self._lock:
            self._thread = 0

    def kick(self) -> None:
        """End the present KVM_RUN, or else the next. Never blocks; does nothing once closed."""
        # Under the lock the thread can't end, and its id can't be somebody else's by now.
        with self._lock:
            if self._kvm_run is not None and not self._kvm_run[IMMEDIATE_EXIT]:
                self._kvm_run[IMMEDIATE_EXIT] = 1
                if self._thread:
                    pthread_kill(self._thread, KICK_SIGNAL)

    def close(self) -> None:
        """Let go of kvm_run. Raises RuntimeError while a thread runs the vCPU."""
        with self._lock:
            if self._thread:
                raise RuntimeError("the vCPU is closed while it runs")
            self._kvm_run = None
