# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's ABI: <linux/eventfd.h>.

Generated from Debian's linux-libc-dev 7.3.4-1~bpo13+1 by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""

EFD_SEMAPHORE = 1
EFD_CLOEXEC = 0x80000
EFD_NONBLOCK = 0x800
