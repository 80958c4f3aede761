// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "panic.h"

#include <stdarg.h>

#include "exit.h"
#include "print.h"

_Noreturn void panic(const char *format, ...)
{
	va_list arguments;

	printf("panic: ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	exit(EXIT_PANIC);
}
