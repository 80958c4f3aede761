/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ways to reset the machine. */
#ifndef RESET_H
#define RESET_H

/* As the option `reset` says: i8042, cf9, acpi or triple. Needs platform_init(). */
_Noreturn void machine_reset(void);

/* An exception that nothing can handle: the CPU shuts down, which resets a PC. */
_Noreturn void triple_fault(void);

#endif
