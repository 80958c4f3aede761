# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""InputForwarder: hands a file descriptor's input to the guest, no faster than it takes it."""

from __future__ import annotations

import os
import select
import threading

from pyvmm.uapi.ioctl import failure

from .errors import ConsoleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 4096


class InputForwarder:
    """Reads fd and hands what it reads to forward(data), on a thread that it owns, or on run()'s.

    forward returns how many bytes it took; the rest is offered again after room() was called, and
    nothing more is read before. The thread ends with fd's input, and tells ended(), if given.
    """

    def __init__(
        self,
        fd: int,
        forward: Callable[[bytes], int],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises ConsoleError."""
        self._fd = fd
        self._forward = forward
        self._ended = ended
        self._lock = threading.Lock()
        self._closing = False
        try:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as error:
            raise ConsoleError(
                failure("waiting for serial input", "eventfd", error.errno or 0)
            ) from None
        # A daemon: another reader of the same terminal may snatch what poll() saw, and leave
        # our read to wait.
        self._thread = threading.Thread(target=self._on_thread, name="serial input", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def room(self) -> None:
        """forward(), having taken less than it was given, may take more now. From any thread."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Have it end, without waiting. From any thread."""
        self._closing = True
        self.room()

    def close(self) -> None:
        """End the thread. Idempotent. Not while run() runs."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(1)
        with self._lock:
            if self._wake >= 0 and not self._thread.is_alive():
                os.close(self._wake)
                self._wake = -1

    def _on_thread(self) -> None:
        if self.run():
            self._ended()

    def run(self) -> bool:
        """Forward on this thread, until there is no more input (True), or stop()."""
        wake = select.poll()
        wake.register(self._wake, select.POLLIN)
        both = select.poll()
        both.register(self._wake, select.POLLIN)
        both.register(self._fd, select.POLLIN)
        waiting = b""
        while True:
            ready = (wake if waiting else both).poll()
            if (self._wake, select.POLLIN) in ready:
                os.eventfd_read(self._wake)
                if self._closing:
                    return False
            elif not waiting:
                try:
                    waiting = os.read(self._fd, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return True  # closed, or the terminal was hung up
                if not waiting:
                    return True
            if waiting:
                waiting = waiting[self._forward(waiting) :]
