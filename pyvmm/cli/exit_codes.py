# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The exit statuses of the command line, one for each kind of failure.

Guests have 1 to 99 for themselves (their code at the debug-exit port); shells have 126 and up,
and 124 and 125 are used as by timeout(1). A guest's code from 100 on is its exit status all the
same, and a line on stderr says whose it is.
"""

from __future__ import annotations

from pyvmm.machine.outcome import End

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.machine import Outcome

OK = 0
CONFIG = 100
KVM_MISSING = 101
KVM_PERMISSION = 102
KVM_CAPABILITY = 103
HOST_CALL = 104
BAD_IMAGE = 105
HOST_MEMORY = 106
BAD_MODEL = 107
DEVICE_GONE = 108
DEVICE_SILENT = 109
DEVICE_LIED = 110
DEVICE_FAILED = 111
PCI_CONFLICT = 112
PCI_SPACE = 113
GUEST_CRASH = 114
SOCKET = 115
USAGE = 116
GUEST_RESET = 117
HOST_DEVICE = 118
NEEDED_BY_HOST = 119
LAB = 120
GUEST_PANIC = 121
TIMEOUT = 124
INTERNAL = 125

TABLE = (
    (OK, "the guest reported success or powered off; or the user quit"),
    ("1-99", "the guest's own code (higher ones too, then said on stderr)"),
    (CONFIG, "the YAML file is wrong or unreadable"),
    (KVM_MISSING, "no KVM here"),
    (KVM_PERMISSION, "no permission to use /dev/kvm"),
    (KVM_CAPABILITY, "this KVM lacks something needed"),
    (HOST_CALL, "a system call failed"),
    (BAD_IMAGE, "a guest image is missing, not one, or does not fit"),
    (HOST_MEMORY, "the host can't give the guest its memory"),
    (BAD_MODEL, "unknown device model, or a wrong option for it"),
    (DEVICE_GONE, "a device's process is not there, or went away"),
    (DEVICE_SILENT, "a device's process did not answer in time"),
    (DEVICE_LIED, "a device's process broke the vfio-user protocol"),
    (DEVICE_FAILED, "a device refused something"),
    (PCI_CONFLICT, "no PCI address for a device, or one that another has"),
    (PCI_SPACE, "a BAR fits nowhere"),
    (GUEST_CRASH, "the guest crashed"),
    (SOCKET, "a socket can't be made or listened on"),
    (USAGE, "the command line is wrong"),
    (GUEST_RESET, "the guest asked for a reset, which the config has end the run"),
    (HOST_DEVICE, "a device of the host can't be had"),
    (NEEDED_BY_HOST, "refused to take a device that the host needs; --force does"),
    (LAB, "the lab can't be set up, started, or kept running"),
    (GUEST_PANIC, "the guest has panicked"),
    (TIMEOUT, "the time limit ended the guest, or the lab's command"),
    (INTERNAL, "a bug of pyvmm"),
    ("128+N", "signal N ended pyvmm"),
)
"""(status, meaning), as the help shows it."""


def of_outcome(outcome: Outcome) -> int:
    """The exit status for how a run ended, lost devices, signals and causes aside."""
    if outcome.end is End.EXIT:
        # Never 0 for a code that isn't: shells see only the low byte.
        return outcome.code & 0xFF or 1 if outcome.code else OK
    return {
        End.RESET: GUEST_RESET,
        End.PANIC: GUEST_PANIC,
        End.CRASH: GUEST_CRASH,
        End.RESET_FAILED: HOST_CALL,
        End.TIMEOUT: TIMEOUT,
        End.INTERNAL: INTERNAL,
    }.get(outcome.end, OK)
