/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The report of a test guest. Each check prints one line,
 *   "  ok   TEXT"  or  "  FAIL TEXT"  or  "  FAIL TEXT: got 0x.., expected 0x..",
 * and the last line of the report is "PASS" or "FAIL: N checks failed".
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* Print "TITLE:" over the checks that follow. */
void check_section(const char *title);

bool check(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool check_equal(uint64_t got, uint64_t expected, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Print the last line; returns the exit code that goes with it. */
int check_result(void);

#endif
