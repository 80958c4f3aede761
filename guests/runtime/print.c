// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "print.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"
#include "serial.h"
#include "string.h"

struct conversion {
	bool left, zero, is_long;
	unsigned width;
};

static volatile uint32_t print_lock;

static void put(char c)
{
	if (c == '\n')
		serial_putc('\r');
	serial_putc(c);
}

static void put_padded(const char *text, size_t length, const struct conversion *how)
{
	unsigned padding = how->width > length ? how->width - length : 0;

	if (!how->left)
		for (; padding; padding--)
			put(how->zero ? '0' : ' ');
	while (length--)
		put(*text++);
	for (; padding; padding--)
		put(' ');
}

static void put_number(uint64_t value, unsigned base, bool negative, const struct conversion *how)
{
	char digits[21];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[--at] = '-';
	put_padded(digits + at, sizeof(digits) - at, how);
}

static const char *parse(const char *format, struct conversion *how)
{
	*how = (struct conversion){0};
	for (;; format++) {
		if (*format == '-')
			how->left = true;
		else if (*format == '0')
			how->zero = true;
		else
			break;
	}
	while (*format >= '0' && *format <= '9')
		how->width = how->width * 10 + (*format++ - '0');
	while (*format == 'l' || *format == 'z') {
		how->is_long = true;
		format++;
	}
	return format;
}

void vprintf(const char *format, va_list arguments)
{
	struct conversion how;

	spin_lock(&print_lock);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		format = parse(format + 1, &how);
		switch (*format) {
		case 'd': {
			int64_t value = how.is_long ? va_arg(arguments, int64_t)
						    : va_arg(arguments, int);

			put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0,
				   &how);
			break;
		}
		case 'u':
		case 'x':
			put_number(how.is_long ? va_arg(arguments, uint64_t)
					       : va_arg(arguments, unsigned),
				   *format == 'u' ? 10 : 16, false, &how);
			break;
		case 's': {
			const char *text = va_arg(arguments, const char *);

			put_padded(text, strlen(text), &how);
			break;
		}
		case 'c': {
			char c = va_arg(arguments, int);

			put_padded(&c, 1, &how);
			break;
		}
		default:
			put(*format);
		}
	}
	spin_unlock(&print_lock);
}

void print_force(void)
{
	spin_unlock(&print_lock);
}

void printf(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}
