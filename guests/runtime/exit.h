/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ways to end: with a code for whoever runs the VM, or by power-off. */
#ifndef EXIT_H
#define EXIT_H

enum {
	EXIT_PASS = 0,
	EXIT_FAIL = 1,			/* a check failed */
	EXIT_PANIC = 2,
	EXIT_EXCEPTION = 32,		/* plus the vector, 0 to 31 */
};

/*
 * Write `code` to the debug-exit port. QEMU's isa-debug-exit makes the process's status
 * (code << 1) | 1 of it. Without such a device: power off, and without that, halt.
 */
_Noreturn void exit(int code);

/* ACPI S5, then halt. */
_Noreturn void power_off(void);

#endif
