/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * printf to the serial port: %d %u %x %s %c %%, with `l` or `z` for 64 bits, a width, and the
 * flags `0` and `-`. "\n" goes out as CR LF. One call is never mixed with another CPU's, so
 * interrupt handlers must not print: what they interrupt may be printing.
 */
#ifndef PRINT_H
#define PRINT_H

#include <stdarg.h>

void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vprintf(const char *format, va_list arguments);

/* Print whoever is printing: for the last words after an exception, which may be from there. */
void print_force(void);

#endif
