# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the kernel's VFIO costs to import: a VM with a device of the host waits for it."""

from __future__ import annotations

import subprocess
import sys

RARELY_NEEDED = {"argparse", "asyncio", "dataclasses", "json", "platform", "socket", "uuid"}


def test_what_is_rarely_needed_is_not_imported() -> None:
    script = f"import sys, pyvmm.vfio.kernel; print(*sorted({RARELY_NEEDED} & set(sys.modules)))"
    # -S: site imports what it likes.
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"
