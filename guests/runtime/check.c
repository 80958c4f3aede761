// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "check.h"

#include <stdarg.h>

#include "exit.h"
#include "print.h"

static unsigned failures;

static void report(bool holds, const char *format, va_list arguments)
{
	if (!holds)
		failures++;
	printf(holds ? "  ok   " : "  FAIL ");
	vprintf(format, arguments);
}

void check_section(const char *title)
{
	printf("%s:\n", title);
}

bool check(bool holds, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(holds, format, arguments);
	va_end(arguments);
	printf("\n");
	return holds;
}

bool check_equal(uint64_t got, uint64_t expected, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(got == expected, format, arguments);
	va_end(arguments);
	if (got != expected)
		printf(": got 0x%lx, expected 0x%lx", got, expected);
	printf("\n");
	return got == expected;
}

int check_result(void)
{
	if (!failures) {
		printf("PASS\n");
		return EXIT_PASS;
	}
	printf("FAIL: %u check%s failed\n", failures, failures == 1 ? "" : "s");
	return EXIT_FAIL;
}
