# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""QemuProcess: QEMU as a child that leaves nothing behind, however this process ends.

It has no files: its sockets are inherited, its log is memory. It dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from contextlib import suppress
from errno import EMFILE
from typing import TYPE_CHECKING

from pyvmm.uapi.ioctl import failure

from .errors import LabError, LabSilent
from .transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_MOMENT = 0.5
_prctl = ctypes.CDLL(None).prctl


class QemuProcess:
    """Owns the process, and a thread: the kernel takes a child's parent to be a thread, and has
    the child die with that. A context manager.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]
    ) -> None:
        """Start it, with the descriptors fds. Raises LabError if there is no such program."""
        self._messages = Transcript("lab-qemu-stderr")
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(command, {**os.environ, **environment}, fds),
            name="QEMU",
        )
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self.close()
            raise LabError(
                failure(f"starting {command[0]}", "execve", self._error.errno or 0),
                "raise the limit on open files (ulimit -n)"
                if self._error.errno == EMFILE
                else "`pyvmm lab check` tells what is missing",
            )

    def __enter__(self) -> QemuProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process's number; -1 if it never began."""
        return self._process.pid if self._process is not None else -1

    def last_words(self) -> list[str]:
        """What it had to say, and how it ended, if it has."""
        status = self._status()
        words = self._messages.tail.splitlines()
        if status is not None and status < 0:
            words.append(f"ended by {signal.Signals(-status).name}")
        elif status is not None:
            words.append(f"ended with status {status}")
        return words

    def complaint(self) -> list[str]:
        """What it had to say, if it has ended by itself, and not well."""
        status = self._status()
        return self._messages.tail.splitlines() if status is not None and status > 0 else []

    def _status(self) -> int | None:
        # Its sockets close a moment before it is a child to be waited for.
        self._thread.join(_MOMENT)
        return self._process.returncode if self._process is not None else None

    def wait(self, seconds: float) -> None:
        """Wait until it has ended by itself. Raises LabSilent if it doesn't."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise LabSilent(f"QEMU didn't end within {seconds:.0f} s")

    def close(self) -> None:
        """End it at once; it has nothing to save."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._thread.join()
        self._messages.close()

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]
    ) -> None:
        parent = os.getpid()

        def die_with_parent() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it was quicker
                os._exit(1)

        try:
            # A process group of its own: the terminal's Ctrl-C is for the command, by way of us.
            self._process = subprocess.Popen(
                command,
                env=environment,
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self._messages.fileno(),
                stderr=self._messages.fileno(),
                preexec_fn=die_with_parent,
                process_group=0,
            )
        except OSError as error:
            self._error = error
        self._started.set()
        if self._process is not None:
            self._process.wait()
