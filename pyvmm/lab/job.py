# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Job: one command in the lab, from its start to its exit status."""

from __future__ import annotations

import math
import os
import secrets
import select
import shlex
import signal
import socket
import time
from errno import EIO, EPIPE
from typing import TYPE_CHECKING

from pyvmm.uapi.ioctl import failure

from .errors import LabEnded, LabError, LabStopped, LabTimeout
from .streams import Input, Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .agent import Agent, Words
    from .qmp import Qmp

_BUSYBOX = "/run/pyvmm-lab/busybox"
# What a command has from a SIGTERM on that is to end it.
_GRACE = 5.0
# Whoever asks so often for its end means it.
_INSISTENT = 3
_LONGEST_POLL_MS = 1e9
_UNUSABLE = select.POLLHUP | select.POLLERR | select.POLLNVAL


def script(argv: Sequence[str], cwd: str, environment: Mapping[str, str]) -> bytes:
    """What the lab's shell is to run. Bytes that are no text come through as they are.

    The command is found here, by PATH: busybox would rather be it itself. Raises LabError for
    what no process can be given.
    """
    if not argv or not argv[0]:
        raise LabError("there is no command to run in the lab", "name a program")
    if any(not name or "=" in name for name in environment):
        raise LabError("a variable for the lab without a name, or with = in it")
    variables = [f"{name}={value}" for name, value in environment.items()]
    if any("\0" in text for text in (*argv, *variables, cwd)):
        raise LabError("a null character in what is to be given to the lab's command")
    program, *arguments = argv
    # env takes a program with = in its path for a variable; setpriv, asked for nothing, does not.
    start = shlex.join([_BUSYBOX, "env", "-i", "--", *variables, _BUSYBOX, "setpriv", "--"])
    start = f'exec {start} "$program" {shlex.join(arguments)}'
    lines = [f"cd {shlex.quote(cwd)} || exit 126"]
    if "/" in program:
        lines += [f"program={shlex.quote(program)}", start]
    else:
        folders = os.get_exec_path(environment)
        places = shlex.join(os.path.join(folder or ".", program) for folder in folders)
        lines += [
            f"for program in {places}; do",
            f'[ -f "$program" ] && [ -x "$program" ] && {start}',
            "done",
            f"echo {shlex.quote(f'{program}: not found')} >&2",
            "exit 127",
        ]
    return os.fsencode("\n".join([*lines, ""]))


class Job:
    """Runs a command once. close() takes its ports away, if the lab is to go on, and abandon()
    leaves them to a machine that ends.
    """

    def __init__(self, name: str, qmp: Qmp, agent: Agent) -> None:
        self._name = name
        self._qmp = qmp
        self._agent = agent
        self._token = secrets.token_hex(16)
        self._ports: list[str] = []
        self._sockets: list[socket.socket] = []
        self._group = ""
        self._signals: list[int] = []
        self._size: tuple[int, int] | None = None
        self._inputs: list[Input] = []
        self._terminal: Input | None = None
        self._outputs: list[Output] = []
        self._status: int | None = None
        self._stops = 0
        self._stopped_by = math.inf  # time.monotonic()
        self._write_error = 0

    def close(self) -> None:
        """Take away what start() has plugged in. Raises LabError."""
        try:
            while self._ports:
                self._remove_port(self._ports.pop())
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close this end of its ports. Idempotent."""
        while self._sockets:
            self._sockets.pop().close()

    def start(self, script: bytes, stdin: int, stdout: int, stderr: int) -> None:
        """Start it with three streams; -1 is none. Raises LabError."""
        token = self._token.encode()
        self._inputs.append(Input(stdin, self._port("in"), closing=True))
        self._outputs.append(Output(self._port("out"), stdout, token))
        self._outputs.append(Output(self._port("err"), stderr, token))
        self._agent.job(self._name, "streams", self._token, script)

    def start_on_terminal(self, script: bytes, stdin: int, stdout: int) -> None:
        """Start it with a terminal of its own. Raises LabError."""
        port = self._port("tty", "virtconsole")
        self._terminal = Input(stdin, port, closing=False)
        self._inputs.append(self._terminal)
        self._outputs.append(Output(port, stdout, self._token.encode()))
        self._agent.job(self._name, "terminal", self._token, script)

    def signal(self, number: int) -> None:
        """Send the command, and what it has started, a signal. From any thread."""
        self._signals.append(number)
        self._agent.box.wake()

    def stop(self, number: int) -> None:
        """As signal(), where that is to end the command: wait() raises LabStopped at the third
        one, and some seconds after SIGTERM.
        """
        self._stops += 1
        if number == signal.SIGTERM:
            self._stopped_by = min(self._stopped_by, time.monotonic() + _GRACE)
        self.signal(number)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command's terminal its size. From any thread."""
        self._size = (rows, columns)
        self._agent.box.wake()

    def wait(self, timeout: float | None = None) -> int:
        """Let its streams flow until it ends; returns its status, as a shell has it.

        Raises LabTimeout once it has had SIGTERM and some seconds more, or SIGHUP and these if
        its terminal hung up; LabStopped and LabEnded; LabError if its output can't be written.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        too_long = f"the lab's command took longer than {timeout or 0:g} s"
        told = ""  # why it was told to end
        while self._status is None or not all(output.done for output in self._outputs):
            late = deadline is not None and time.monotonic() >= deadline
            if late and (told or self._status is not None):
                raise LabTimeout(told or too_long)
            if late:
                told = too_long
                self.signal(signal.SIGTERM)
                deadline = time.monotonic() + _GRACE
            elif not told and self._terminal is not None and self._terminal.hung_up:
                told = "the lab's command went on when its terminal had hung up"
                self.signal(signal.SIGHUP)
                deadline = time.monotonic() + _GRACE
            if self._stops >= _INSISTENT or time.monotonic() >= self._stopped_by:
                raise LabStopped("the lab's command was asked to end, and didn't")
            self._poll(self._stopped_by if deadline is None else min(deadline, self._stopped_by))
        if told == too_long:
            raise LabTimeout(told)
        if self._write_error:
            raise LabError(failure("the lab's command: its output", "write", self._write_error))
        return self._status

    def _poll(self, deadline: float) -> None:
        ready = select.poll()
        ready.register(self._agent.box, select.POLLIN)
        waiting: dict[int, list[Input | Output]] = {}
        events: dict[int, int] = {}
        streams: list[Input | Output] = [*self._inputs, *self._outputs]
        for stream in streams:
            wish = stream.waits_for()
            if wish is not None:
                waiting.setdefault(wish[0], []).append(stream)
                events[wish[0]] = events.get(wish[0], 0) | wish[1]
        for descriptor, mask in events.items():
            ready.register(descriptor, mask)
        left = max(0, deadline - time.monotonic()) * 1e3 + 1
        for descriptor, got in ready.poll(min(left, _LONGEST_POLL_MS)):
            for stream in waiting.get(descriptor, ()):
                wish = stream.waits_for()
                if wish is not None and got & (wish[1] | _UNUSABLE):
                    stream.go_on()
        for output in self._outputs:
            self._refused(output.failed())
        self._read_mail()
        self._catch_up()

    def _refused(self, number: int) -> None:
        """Nobody has the command's output any more: what it can't be told it has to be made."""
        if number == EPIPE:
            self.signal(signal.SIGPIPE)
        elif number == EIO and self._terminal is not None:
            self.signal(signal.SIGHUP)
        elif number:
            self._write_error = self._write_error or number
            self.signal(signal.SIGTERM)

    def _read_mail(self) -> None:
        box = self._agent.box
        box.acknowledge()
        group = box.take(lambda words: self._told(words, "running"))
        if group is not None:
            self._group = group
        status = box.take(lambda words: self._told(words, "exit"))
        if status is not None:
            self._status = int(status)
            for stream in self._inputs:
                stream.stop()
        elif box.ended and self._status is None:
            raise LabEnded("the lab's machine ended while its command ran")

    def _told(self, words: Words, verb: str) -> str | None:
        return words[2] if words[:2] == (verb, self._name) else None

    def _catch_up(self) -> None:
        """Pass on what was asked for, once there is a process to have it."""
        while self._group and self._signals:
            self._agent.signal(self._name, self._group, self._signals.pop(0))
        if self._group and self._size is not None:
            size, self._size = self._size, None
            self._agent.size(self._name, *size)

    def _port(self, suffix: str, driver: str = "virtserialport") -> socket.socket:
        """A new port of the lab's, called NAME.suffix; returns our end of it."""
        name = f"{self._name}.{suffix}"
        ours, theirs = socket.socketpair()
        self._sockets.append(ours)
        with theirs:
            self._qmp.execute("getfd", {"fdname": name}, fds=(theirs.fileno(),))
        address = {"type": "fd", "data": {"str": name}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self._qmp.execute("chardev-add", {"id": name, "backend": backend})
        device = {"driver": driver, "id": f"{name}.port", "bus": "ports.0", "name": name}
        self._qmp.execute("device_add", {**device, "chardev": name})
        self._ports.append(name)
        return ours

    def _remove_port(self, name: str) -> None:
        self._qmp.execute("device_del", {"id": f"{name}.port"})
        self._qmp.event("DEVICE_DELETED", lambda data: data.get("device") == f"{name}.port")
        self._qmp.execute("chardev-remove", {"id": name})
