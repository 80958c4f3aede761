// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "options.h"

#include <stddef.h>

#include "boot.h"
#include "panic.h"
#include "string.h"

static bool ends_word(char c)
{
	return c == '\0' || c == ' ';
}

static bool starts_with(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return false;
	return true;
}

/* Where the value begins ("" for a bare name), or NULL. */
static const char *option_value(const char *name)
{
	const size_t length = strlen(name);
	const char *word = boot_command_line;

	while (*word) {
		if (starts_with(word, name)) {
			if (word[length] == '=')
				return word + length + 1;
			if (ends_word(word[length]))
				return word + length;
		}
		while (!ends_word(*word))
			word++;
		while (*word == ' ')
			word++;
	}
	return NULL;
}

bool option_given(const char *name)
{
	return option_value(name) != NULL;
}

bool option_is(const char *name, const char *value)
{
	const char *given = option_value(name);

	return given && starts_with(given, value) && ends_word(given[strlen(value)]);
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 16;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *text = option_value(name);
	uint64_t value = 0;
	unsigned base = 10;

	if (!text)
		return otherwise;
	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	do {
		if (digit(*text) >= base)
			panic("option %s: not a number", name);
		value = value * base + digit(*text++);
	} while (!ends_word(*text));
	return value;
}
