# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# ruff: noqa
# fmt: off
"""The kernel's ABI: <linux/eventfd.h>.

Generated from Debian's linux-libc-dev 7.3.4-1~bpo13+1 by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""

from typing import Final

EFD_SEMAPHORE: Final = 1
EFD_CLOEXEC: Final = 0x80000
EFD_NONBLOCK: Final = 0x800
