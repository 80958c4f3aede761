# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What Linux says of a machine in software that is busy with others, and no more than that.

A clock that is unstable, work that is stuck, a stall: all that stays a complaint. Of the kernel's
sources, kernel/time/clocksource.c, kernel/time/hrtimer.c, kernel/sched/rt.c and deadline.c.
"""

from __future__ import annotations

BUSY = {
    r"clocksource: Long readout interval, skipping watchdog check: cs_nsec: \d+ wd_nsec: \d+": (
        "the vCPU that compares the clocks twice a second came seconds late"
    ),
    r"clocksource: timekeeping watchdog on CPU\d+: \S+ retried \d+ times before success": (
        "a vCPU waited its turn between two reads of a clock"
    ),
    r"hrtimer: interrupt took \d+ ns": "a vCPU waited its turn while it served its timer",
    r"sched: (RT throttling activated|DL replenish lagged too much)": (
        "a vCPU waited its turn, in a thread that is not to run for long"
    ),
}
"""Whole lines, as patterns, each with its reason."""
