# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device model in a process of its own: ``pyvmm serve`` at the other end of a socket pair.

A socket pair and not a path: nobody else can connect, nothing is left in a folder, and when
either side dies, however it dies, the other one is told by the kernel at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress

from .errors import ModelProcessFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

START_LIMIT = 60.0
"""How many seconds its first reply may take: Python starts, perhaps on a busy or slow machine."""

_CHILD_FD = 3
_GRACE = 2.0  # seconds
_LAST = 30.0
_MOMENT = 0.1


class ModelProcess:
    """Owns a child process that serves one model, and our end of its socket.

    The constructor returns at once; the child starts while the VM is being built. Raises
    ModelProcessFailed.
    """

    def __init__(self, model: str, options: Mapping[str, object]) -> None:
        self.name = os.path.basename(model)  # of a file
        self._how = ""  # it ended
        self._lock = threading.Lock()
        from pyvmm.models.options import as_text

        command = [sys.executable, "-P", "-m", "pyvmm", "serve", model, "--fd", str(_CHILD_FD)]
        for key, value in options.items():
            command += ["--option", f"{key}={as_text(value)}"]
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise _failed(model, "socketpair", error) from None
        with theirs:
            try:
                self.pid = os.posix_spawn(
                    sys.executable,
                    command,
                    _environment(),
                    file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), _CHILD_FD)],
                    # A session of its own: the terminal's Ctrl-C is for us, and we end the child.
                    setsid=True,
                    setsigmask=(),
                    setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
                )
            except OSError as error:
                ours.close()
                raise _failed(model, f"posix_spawn {sys.executable}", error) from None
        self.socket = ours
        try:
            # Readable when the process has ended: no polling, no SIGCHLD handler.
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            ours.close()
            # Where SIGCHLD is ignored, it may be gone already, and isn't ours to wait for.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            raise _failed(model, "pidfd_open", error) from None

    def ended(self) -> str:
        """How the process ended, for messages; '' while it runs.

        Its socket hangs up a moment before it can be waited for, hence the patience.
        """
        self._wait(_MOMENT)
        return f"the process of {self.name} (pid {self.pid}) {self._how}" if self._how else ""

    def close(self) -> None:
        """End the process: by hanging up, then by asking, then by force. Idempotent.

        Whoever was given the socket must have closed it before.
        """
        self.socket.close()
        for number, patience in ((None, _GRACE), (signal.SIGTERM, _GRACE), (signal.SIGKILL, _LAST)):
            if not self._how:
                if number is not None:
                    # By its pidfd: another thread may just have waited for it, in ended().
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(self._pidfd, number)
                self._wait(patience)
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def _poll(self) -> None:
        # Whoever noticed the hang-up may ask while the machine is being closed.
        with self._lock:
            if not self._how:
                self._how = _how_it_ended(self._pidfd)

    def _wait(self, seconds: float) -> None:
        self._poll()
        if self._how:
            return
        import select

        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll(seconds * 1000)
        self._poll()


def _how_it_ended(pidfd: int) -> str:
    """How a child ended, which is waited for by that; '' while it runs."""
    try:
        # By its pidfd: if it isn't ours to wait for, its pid may be another child's by now.
        end = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        # Where SIGCHLD is ignored, which is inherited, the kernel keeps no status for us.
        return "has ended"
    if end is None:
        return ""
    if end.si_code == os.CLD_EXITED:
        return f"exited with {end.si_status}"
    return f"was ended by signal {end.si_status} ({signal.strsignal(end.si_status)})"


def _failed(model: str, call: str, error: OSError) -> ModelProcessFailed:
    from pyvmm.uapi.ioctl import failure

    return ModelProcessFailed(failure(f"starting a process for {model}", call, error.errno or 0))


def _environment() -> dict[str, str]:
    """Ours, with this very pyvmm first in the module path, wherever it was imported from."""
    import pyvmm

    home = os.path.dirname(os.path.dirname(os.path.abspath(pyvmm.__file__)))
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
