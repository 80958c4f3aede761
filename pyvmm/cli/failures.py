# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Turns what goes wrong into one line for people and an exit status for programs."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from errno import EDQUOT, EFBIG, EIO, EMFILE, ENOSPC
from signal import SIGINT, SIGPIPE

from . import exit_codes
from .signals import Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STDOUT, _STDERR = 1, 2
_PATIENCE_MS = 1000

# By name, and looked up along the exception's bases: importing every package's errors here
# would import every package. The most particular class wins.
_STATUS_BY_CLASS = {
    "pyvmm.config.errors.SlotTaken": exit_codes.PCI_CONFLICT,
    "pyvmm.config.errors.ConfigError": exit_codes.CONFIG,
    "pyvmm.kvm.errors.KvmMissing": exit_codes.KVM_MISSING,
    "pyvmm.kvm.errors.KvmPermission": exit_codes.KVM_PERMISSION,
    "pyvmm.kvm.errors.KvmCapabilityMissing": exit_codes.KVM_CAPABILITY,
    "pyvmm.kvm.errors.CpuFeatureMissing": exit_codes.KVM_CAPABILITY,
    "pyvmm.kvm.errors.KvmError": exit_codes.HOST_CALL,
    "pyvmm.memory.errors.OutOfHostMemory": exit_codes.HOST_MEMORY,
    "pyvmm.memory.errors.GuestMemoryError": exit_codes.HOST_CALL,
    "pyvmm.boot.errors.BootError": exit_codes.BAD_IMAGE,
    "pyvmm.debian.errors.DebianError": exit_codes.BAD_IMAGE,
    "pyvmm.linux.errors.LinuxError": exit_codes.BAD_IMAGE,
    "pyvmm.models.errors.ModelError": exit_codes.BAD_MODEL,
    "pyvmm.vfio.errors.DeviceSilent": exit_codes.DEVICE_SILENT,
    "pyvmm.vfio.errors.DeviceGone": exit_codes.DEVICE_GONE,
    "pyvmm.vfio.errors.ProtocolError": exit_codes.DEVICE_LIED,
    "pyvmm.vfio.errors.CannotListen": exit_codes.SOCKET,
    "pyvmm.vfio.errors.HostDeviceUnavailable": exit_codes.HOST_DEVICE,
    "pyvmm.vfio.errors.VfioError": exit_codes.DEVICE_FAILED,
    "pyvmm.doctor.errors.NeededByHost": exit_codes.NEEDED_BY_HOST,
    "pyvmm.doctor.errors.DoctorError": exit_codes.HOST_DEVICE,
    "pyvmm.pci.errors.BusConflict": exit_codes.PCI_CONFLICT,
    "pyvmm.pci.errors.NoRoom": exit_codes.PCI_SPACE,
    "pyvmm.pci.errors.PciError": exit_codes.DEVICE_FAILED,
    "pyvmm.machine.errors.ModelProcessFailed": exit_codes.DEVICE_GONE,
    "pyvmm.machine.errors.MachineError": exit_codes.HOST_CALL,
    "pyvmm.lab.errors.LabTimeout": exit_codes.TIMEOUT,
    "pyvmm.lab.errors.LabError": exit_codes.LAB,
    "builtins.MemoryError": exit_codes.HOST_MEMORY,
}

_NO_KVM = frozenset({"pyvmm.kvm.errors.KvmUnavailable", "pyvmm.kvm.errors.KvmCapabilityMissing"})

# What a file that can't be written has.
_NO_ROOM = frozenset({ENOSPC, EDQUOT, EFBIG, EIO})

# threading has no exception of its own for it.
_NO_THREAD = "can't start new thread"


def status_of(error: BaseException) -> int:
    """The exit status for an exception; INTERNAL if it is a bug of pyvmm."""
    if _has_no_thread(error):
        return exit_codes.HOST_CALL
    for name in _classes(error):
        status = _STATUS_BY_CLASS.get(name)
        if status is not None:
            return status
    return exit_codes.HOST_CALL if _has_no_files(error) else exit_codes.INTERNAL


def _classes(error: BaseException) -> Iterator[str]:
    return (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)


def _has_no_files(error: BaseException) -> bool:
    """Whatever it was that wanted one: an import, a pipe, KVM."""
    return getattr(error, "errno", None) == EMFILE


def _has_no_thread(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error) == _NO_THREAD


def _line(error: BaseException) -> str:
    """Cause and cure."""
    if isinstance(error, MemoryError):
        return "the host has no memory left for pyvmm itself; raise its limit (ulimit -v)"
    if _has_no_thread(error):
        return f"{error}; raise the limit on processes (ulimit -u, or the container's)"
    line = str(error).replace("\n", "\\n")  # which paths may have
    if not _NO_KVM.isdisjoint(_classes(error)):
        line += "; `pyvmm run --lab ...` runs it in software"
    if _has_no_files(error) and "ulimit -n" not in line:
        line += "; raise the limit of open files (ulimit -n)"
    return line


def guarded(command: Callable[[], int], *, verbose: int = 0) -> int:
    """Run a command; on failure say why in one line on stderr. Returns the exit status."""
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 128 + SIGINT
    except Interrupted as signal:
        return 128 + signal.number
    except BrokenPipeError:
        # Whoever read our output has gone.
        _drop_output()
        return 128 + SIGPIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            from pyvmm.uapi.ioctl import failure

            # All files have names but stdout.
            _drop_output()
            say(f"error: {failure('writing to stdout', 'write', error.errno)}")
            return exit_codes.HOST_CALL
        return report(error, verbose=verbose)


def _drop_output() -> None:
    """The interpreter flushes stdout once more, which is to succeed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)


def report(error: BaseException, *, verbose: int = 0) -> int:
    """Say on stderr what went wrong; returns the exit status for it."""
    status = status_of(error)
    if status == exit_codes.INTERNAL:
        import traceback

        traceback.print_exception(error)
        say("this is a bug of pyvmm; please report it with the lines above")
    else:
        if verbose > 1:
            import traceback

            traceback.print_exception(error)
        details = getattr(error, "details", "")
        if details:
            say(details)
        say(f"error: {_line(error)}")
    return status


def end_guests_line() -> None:
    """On a terminal, where the guest's output and our words share lines, begin a new one."""
    with suppress(OSError):
        if os.isatty(_STDERR):
            os.write(_STDERR, _line_end())


def _line_end() -> bytes:
    """On a terminal that is raw, for the guest, a new line doesn't start at the left by itself."""
    if os.isatty(_STDERR):
        import termios

        with suppress(termios.error):  # it was hung up this moment
            if not termios.tcgetattr(_STDERR)[1] & termios.OPOST:
                return b"\r\n"
    return b"\n"


def say(text: str) -> None:
    """One line (or more) of pyvmm's own on stderr, told apart from the guest's output.

    Never raises, and never waits for long: whether anybody reads stderr changes nothing. From
    any thread.
    """
    line = f"pyvmm: {text}\n".encode(errors="backslashreplace").replace(b"\n", _line_end())
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    with suppress(OSError):
        # A pipe that is ready takes a chunk without blocking (pipe(7), PIPE_BUF).
        while line and poll.poll(_PATIENCE_MS):
            line = line[os.write(_STDERR, line[: select.PIPE_BUF]) :]
