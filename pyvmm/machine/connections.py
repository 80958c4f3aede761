# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Connections: a machine's serial line and monitor, to where its config has them."""

from __future__ import annotations

from contextlib import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine
    from .stdio import Stdio

UNIX = "unix:"


class Connections:
    """A context manager, inside the machine's own. notice takes lines for people.

    Input and new clients end with the block; what is left of the output is written out when the
    machine is closed, which owns its sinks.
    """

    def __init__(self, vm: Machine, notice: Callable[[str], None]) -> None:
        self._vm = vm
        self._notice = notice
        self._stdio: Stdio | None = None
        self._parts = ExitStack()

    def __enter__(self) -> Connections:
        """Raises ConsoleError, CannotListen."""
        config = self._vm.config
        with ExitStack() as parts:
            # The monitor first, and so closed last: it can tell of the others.
            if config.monitor is not None:
                self._listen_for_monitor(config.monitor.removeprefix(UNIX), parts)
            if config.log is not None:
                self._write_to(config.log)
            self._connect_serial(config.serial, parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def hung_up(self) -> bool:
        """The terminal of the serial line has gone."""
        return self._stdio is not None and self._stdio.hung_up

    def restore_terminal(self) -> None:
        """Put the terminal back, if there is one, before the process is ended. From any thread."""
        if self._stdio is not None:
            self._stdio.restore_terminal()

    def _connect_serial(self, serial: str, parts: ExitStack) -> None:
        console = self._vm.console
        if serial == "stdio":
            from .stdio import Stdio

            self._stdio = Stdio(self._vm, self._notice)
            parts.enter_context(self._stdio)
        elif serial == "pty":
            from .serial_pty import SerialPty

            pty = parts.enter_context(SerialPty(console, self._notice))
            self._notice(f"the serial line is at {pty.name}")
        elif serial.startswith(UNIX):
            from .serial_socket import SerialSocket
            from .unix_server import UnixServer

            path = serial.removeprefix(UNIX)
            parts.enter_context(UnixServer(path, SerialSocket(console), self._notice))
        elif serial != "none":
            self._write_to(serial)

    def _write_to(self, path: str) -> None:
        from .sink import Sink

        self._vm.console.attach(Sink.open(path, self._notice))

    def _listen_for_monitor(self, path: str, parts: ExitStack) -> None:
        from .monitor import Monitor
        from .monitor_socket import MonitorSocket
        from .unix_server import UnixServer

        service = MonitorSocket(Monitor(self._vm))
        parts.enter_context(UnixServer(path, service, self._notice))
