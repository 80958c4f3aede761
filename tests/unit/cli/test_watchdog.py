# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Watchdog: nothing if all ends in order, the end by force if it doesn't."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys

from pyvmm.cli.watchdog import Watchdog

LIMIT = 30.0

# It waits for a lock that nobody gives back, while a thread called "vCPU 0" waits too.
STUCK = """
import os, threading
from pyvmm.cli.watchdog import Watchdog

lock = threading.Lock()
lock.acquire()
threading.Thread(target=threading.Event().wait, name="vCPU 0", daemon=True).start()
with Watchdog({patience}) as watchdog:
    watchdog.restore = lambda: os.write(1, b"restored")
    {arm}
    lock.acquire()
"""


def stuck(arm: str, patience: float = 0.1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STUCK.format(arm=arm, patience=patience)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_by_force() -> None:
    done = stuck('watchdog.arm(124, "too late"); watchdog.arm(1, "only the first counts")')
    assert done.stderr == (
        "pyvmm: error: too late; ending in order takes more than 0.1 s, so this is by force "
        "(threads that still run: vCPU 0)\n"
    )
    assert (done.returncode, done.stdout) == (124, "restored")


def test_by_a_signal() -> None:
    done = stuck("watchdog.signalled(15)")
    assert done.stderr.startswith("pyvmm: error: SIGTERM; ")
    assert done.returncode == 128 + signal.SIGTERM


def test_in_order() -> None:
    done = stuck('watchdog.arm(124, "the end"); lock.release()', LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_too_late_to_be_armed() -> None:
    with Watchdog(0) as watchdog:
        watchdog.disarm()
        watchdog.arm(1, "the end")


def test_disarmed_again_while_it_hears_of_it() -> None:
    """As the end of a command does, after the end of its machine."""
    watchdog = Watchdog()

    class Heard:
        """The lock by which it hears; then the other one comes."""

        def __init__(self, lock: _thread.LockType) -> None:
            self._lock = lock
            self.locked, self.release = lock.locked, lock.release

        def acquire(self, timeout: float) -> bool:
            acquired = self._lock.acquire(timeout=timeout)
            watchdog.disarm()
            return acquired

    watchdog._ended = Heard(watchdog._ended)  # type: ignore[assignment]
    watchdog.disarm()
    watchdog._watch(1, "the end")
    watchdog.disarm()
