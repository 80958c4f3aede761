# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""QemuMachine: the lab's PC as it runs: QEMU, its monitor, the agent in it, the kernel's log."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .agent import Agent
from .command_line import Wiring, machine_arguments, memory_arguments, wiring_arguments
from .errors import LabEnded, LabSilent
from .process import QemuProcess
from .qmp import Qmp
from .refusals import refusal
from .transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .assets import Assets
    from .command_line import Backing, MachineOptions

FOR_STATE = ("-incoming", "defer")
"""A saved state is to come, by QMP's migrate-incoming."""
FOR_DEVICES = ("-S",)
"""It isn't to boot before QMP's cont."""

_QUIT_PATIENCE = 60.0
_TAIL_LINES = 25


class QemuMachine:
    """A context manager: at its end the machine is gone, and all that it had."""

    def __init__(
        self,
        assets: Assets,
        options: MachineOptions,
        backing: Backing | None = None,
        *,
        waits: tuple[str, ...] = (),
    ) -> None:
        """Start it; it may wait, FOR_STATE or FOR_DEVICES. Raises QemuRefused, LabError."""
        with ExitStack() as stack:
            self._log = Transcript("lab-kernel-log")
            stack.callback(self._log.close)
            monitor, qemu_monitor = socket.socketpair()
            control, qemu_control = socket.socketpair()
            with qemu_monitor, qemu_control:
                wiring = Wiring(qemu_monitor.fileno(), qemu_control.fileno(), self._log.fileno())
                version = assets.qemu.version
                command = [
                    *assets.qemu.command,
                    *machine_arguments(options, version, assets.vmlinux, assets.initramfs),
                    *memory_arguments(options, backing),
                    *wiring_arguments(wiring),
                    *waits,
                ]
                self.qmp = stack.enter_context(Qmp(monitor))
                self.agent = stack.enter_context(Agent(control))
                self._process = stack.enter_context(
                    QemuProcess(command, assets.qemu.environment, wiring)
                )
            try:
                with self.explained():
                    self.qmp.greet()
            except LabEnded as error:
                raise refusal(self._process.complaint()) or error from None
            self._stack = stack.pop_all()

    def __enter__(self) -> QemuMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def quit(self) -> None:
        """Have QEMU finish what it is at, and wait until it has ended. Raises LabSilent."""
        self.qmp.execute("quit")
        self._process.wait(_QUIT_PATIENCE)

    def close(self) -> None:
        """End it at once. Can be called again."""
        self._stack.close()

    @property
    def log(self) -> str:
        """The kernel's log so far, the last part of it."""
        return self._log.tail

    @contextmanager
    def explained(self) -> Iterator[None]:
        """To an error that means that the machine has ended or hangs, add what it has said."""
        try:
            yield
        except (LabEnded, LabSilent) as error:
            raise type(error)(error.cause, error.cure, details=self._last_words()) from None

    def _last_words(self) -> str:
        lines = [line.rstrip() for line in self.log.splitlines() if line.strip()]
        words = [f"QEMU: {line}" for line in self._process.last_words()]
        return "\n".join(words + lines[-_TAIL_LINES:])
