# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm run``: boot the VM that a YAML file describes."""

from __future__ import annotations

import gc
from contextlib import ExitStack, suppress
from signal import SIGHUP
from time import process_time

from pyvmm.config import load
from pyvmm.machine.connections import Connections
from pyvmm.machine.errors import MachineStopped
from pyvmm.machine.images import are_files
from pyvmm.machine.machine import Machine
from pyvmm.machine.outcome import End
from pyvmm.machine.phases import Phases

from . import exit_codes
from .failures import end_guests_line, report, say, status_of
from .signals import StopSignals
from .watchdog import Watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pyvmm.machine import Outcome

_OF_VMS_TOO = ("kernel", "cpus", "memory")
"""Options about the lab that are called as keys of a config are."""


def command(options: argparse.Namespace) -> int:
    overrides: dict[str, object] = dict(options.set)
    if options.timeout is not None:
        overrides["timeout"] = options.timeout
    if options.lab or (options.lab_without_kvm and not _kvm_works()):
        from .lab import run_vm

        return run_vm(options, load(options.config, overrides))
    if not options.lab_without_kvm:
        from .lab_options import MACHINE

        misplaced = next((name for name in ("device", *MACHINE) if getattr(options, name)), None)
        if misplaced:
            say(f"error: --{misplaced} is for a VM in the lab; {_instead(misplaced)}")
            return exit_codes.USAGE
    return run(options.config, overrides, verbose=options.verbose)


def _instead(option: str) -> str:
    """What to say in place of an option that is about the lab."""
    own = f", or choose the VM's own by --set {option}=..." if option in _OF_VMS_TOO else ""
    return f"add --lab{own}; see pyvmm run --help"


def _kvm_works() -> bool:
    """Whether this host can run VMs itself; says so if it can't."""
    from pyvmm.kvm import KvmError, System

    try:
        with System() as system, system.create_vm():
            return True
    except KvmError as error:
        say(f"{error}")
        say("so the VM runs in the lab, a machine in software, which takes longer")
        return False


def run(path: str, overrides: Mapping[str, object] | None = None, *, verbose: int = 0) -> int:
    """Run the VM until it ends; returns the exit status (exit_codes.py)."""
    # Of what came before main() only the processor time can be told.
    phases = Phases(("Python, imports", process_time()))
    config = load(path, overrides)
    phases.done("config")
    if not are_files(config):
        from .images import fetch_images

        fetch_images(config)
        phases.done("images")
    if config.devices:
        from .limits import allow_many_open_files

        allow_many_open_files()
    with Watchdog() as watchdog, StopSignals(watchdog.signalled) as signals, ExitStack() as stack:

        def ended(outcome: Outcome) -> None:
            # Whatever came of it: a run that does not end in order is no success.
            status = exit_codes.of_outcome(outcome) or exit_codes.INTERNAL
            watchdog.arm(status, outcome.detail)

        # What a console's reader does is not to be cut short: the console has its own patience.
        vm = stack.enter_context(Machine(config, say, phases, ended=ended, undone=watchdog.disarm))
        connections = stack.enter_context(Connections(vm, say))
        watchdog.restore = connections.restore_terminal
        built = False
        # The outcome says how it was stopped.
        with suppress(MachineStopped):
            vm.build()
            built = True
            gc.enable()
            signals.call(vm.request_stop)
            vm.start()
        outcome = vm.wait()
        assert outcome is not None
        if verbose and built:
            from .details import show

            show(vm)
        if vm.console.text[-1:] not in ("", "\n"):
            end_guests_line()
    status = _tell(outcome, verbose)
    # Not each terminal that goes sends SIGHUP: only that of the session.
    number = signals.number or (SIGHUP if connections.hung_up else 0)
    return 128 + number if number and outcome.end is End.STOPPED else status


def _tell(outcome: Outcome, verbose: int) -> int:
    """Say how the run ended, where that is worth a line; returns the exit status."""
    status = exit_codes.of_outcome(outcome)
    if outcome.cause is not None:
        of_cause = report(outcome.cause, verbose=verbose)
        if outcome.end is End.RESET_FAILED:
            status = of_cause
    if outcome.end in (End.PANIC, End.CRASH, End.TIMEOUT, End.INTERNAL):
        say(f"error: {_in_full(outcome)}")
    elif verbose or status >= exit_codes.CONFIG or outcome.end is End.STOPPED:
        say(outcome.detail)
    if outcome.device_errors and outcome.end is not End.INTERNAL:
        # The guest went on without the device; whatever it made of that is no success.
        return status_of(outcome.device_errors[0])
    return status


def _in_full(outcome: Outcome) -> str:
    """The line and the report behind it; a crash's report begins with the line."""
    if outcome.end is End.CRASH:
        return outcome.report or outcome.detail
    return "\n".join(filter(None, (outcome.detail, outcome.report)))
