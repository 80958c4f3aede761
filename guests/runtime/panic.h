/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The end of a guest that cannot go on. */
#ifndef PANIC_H
#define PANIC_H

/* Print "panic: ..." and exit with EXIT_PANIC. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
