# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm lab``: commands, shells and VMs in a software machine with IOMMU, VFIO and KVM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial

from pyvmm.machine.images import are_files
from pyvmm.machine.phases import Phases

from . import exit_codes
from .failures import say
from .lab_options import MACHINE, PARTS
from .progress import progress
from .signals import StopSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from pyvmm.config import VmConfig
    from pyvmm.lab.session import Lab

_STDIN, _STDOUT = 0, 1
_START_LIMIT = 300.0


def run_command(options: argparse.Namespace) -> int:
    """``pyvmm lab run``"""
    # argparse takes COMMAND for a subcommand, and leaves it to that to take this away.
    argv = options.argv[1:] if options.argv[0] == "--" else options.argv
    return _in_lab(options, argv, options.timeout or None, terminal=options.tty)


def shell_command(options: argparse.Namespace) -> int:
    """``pyvmm lab shell``"""
    from pyvmm.lab.errors import LabError

    if not _on_terminal():
        raise LabError("a shell in the lab needs a terminal", "use `pyvmm lab run -- COMMAND`")
    argv = [os.environ.get("SHELL", "/bin/sh")]
    return _in_lab(options, argv, options.timeout or None, terminal=True)


def setup_command(options: argparse.Namespace) -> int:
    """``pyvmm lab setup``"""
    from pyvmm.lab.assets import prepare

    with StopSignals(), progress() as tell:
        assets = prepare(
            devices=",".join(options.device),
            progress=tell,
            refresh=options.refresh,
            **_said(options, PARTS),
        )
    say(f"the lab is ready: kernel {assets.kernel_release}, {assets.qemu}")
    return 0


def check_command(options: argparse.Namespace) -> int:
    """``pyvmm lab check``"""
    from pyvmm.lab.assets import check

    findings = check(devices=",".join(options.device), **_said(options, PARTS))
    for finding in findings:
        print(finding)
    return (
        exit_codes.OK
        if all(finding.ok or not finding.needed for finding in findings)
        else exit_codes.LAB
    )


def run_vm(options: argparse.Namespace, config: VmConfig) -> int:
    """``pyvmm run --lab``: the same command line, in the lab. config is what it comes to."""
    from pyvmm.lab.errors import LabError

    for index, device in enumerate(config.devices):
        if device.socket is not None:
            raise LabError(
                f"devices[{index}]: a VM in the lab can't reach this host's sockets, and so not "
                f"the server at {device.socket}",
                "have the model in the config (model: ./mine.py), or start the server in the lab: "
                "`pyvmm lab run -- sh -c 'SERVER & pyvmm run CONFIG'`",
            )
    hosts = [device.host for device in config.devices if device.host is not None]
    if hosts and not options.device:
        raise LabError(
            f"{hosts[0]}: the lab's host has no such device unless one is plugged in",
            "add what it is to be: --device nvme, for example; the first is at 0000:01:00.0",
        )
    for key in ("serial", "monitor"):
        where = getattr(config, key)
        if where is not None and (where == "pty" or where.startswith("unix:")):
            raise LabError(
                f"{key}: {where} of a VM in the lab can't be reached from here",
                f"leave {key} out, or run it on a host with KVM",
            )
    if not are_files(config):
        # The lab has no network, and what it writes is gone with it; it sees our cache.
        from .images import fetch_images

        fetch_images(config)
    argv = [sys.executable, "-m", "pyvmm", "run", options.config]
    for key, value in options.set:
        argv += ["--set", f"{key}={value}"]
    if options.timeout is not None:
        argv += ["--timeout", str(options.timeout)]
    argv += ["-v"] * options.verbose
    # The VM has its limit from the config; this is for what never gets that far.
    limit = None if config.timeout is None else config.timeout + _START_LIMIT
    return _in_lab(options, argv, limit, terminal=_on_terminal())


def _said(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options of these names that were given: the lab knows what it is like without them."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _in_lab(
    options: argparse.Namespace, argv: Sequence[str], timeout: float | None, *, terminal: bool
) -> int:
    from pyvmm.lab.errors import LabStopped
    from pyvmm.lab.session import Lab

    gc.enable()
    phases = Phases()
    with StopSignals() as signals, ExitStack() as stack:
        with progress() as tell:
            lab = Lab(
                ",".join(options.device),
                progress=tell,
                done=phases.done,
                **_said(options, MACHINE),
            )
            stack.enter_context(lab)
        if options.verbose:
            # Not as they end: a line that changes may be there until now.
            for name, seconds in phases.seconds:
                _say_phase(name, seconds)
            stack.callback(_say_command_ended, phases)
        signals.call(lambda name: lab.stop(signal.Signals[name]))
        try:
            if terminal:
                status = _on_own_terminal(lab, argv, timeout)
            else:
                status = lab.run(argv, timeout=timeout)
        except LabStopped as error:
            say(f"{error}; the lab's machine ends with it")
            return 128 + signals.number
        if status == 128 + signal.SIGKILL and lab.killed_for_memory:
            # Nobody has asked for it, and nothing else tells.
            say(f"the lab's kernel: {lab.killed_for_memory}; take more --memory")
        return status


def _say_phase(name: str, seconds: float) -> None:
    say(f"lab: {name:<18} {seconds:7.2f} s")


def _say_command_ended(phases: Phases) -> None:
    phases.done("command ended")
    _say_phase(*phases.seconds[-1])


def _on_own_terminal(lab: Lab, argv: Sequence[str], timeout: float | None) -> int:
    from pyvmm.machine.terminal import RawTerminal

    with ExitStack() as stack:
        stack.enter_context(RawTerminal(_STDIN))
        stack.callback(
            signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, partial(_resized, lab))
        )
        return lab.run_on_terminal(argv, timeout=timeout, size=_size())


def _resized(lab: Lab, *_: object) -> None:
    """On a thread of its own: what the handler interrupts may be sending."""
    size = _size()
    if size is not None:
        threading.Thread(target=lab.resize, args=size, daemon=True).start()


def _size() -> tuple[int, int] | None:
    """(rows, columns) of our terminal."""
    with suppress(OSError):
        columns, rows = os.get_terminal_size(_STDOUT)
        if columns and rows:
            return rows, columns
    return None


def _on_terminal() -> bool:
    return os.isatty(_STDIN) and os.isatty(_STDOUT)
