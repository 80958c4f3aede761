/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Options on the command line: words, separated by spaces, of the form `name` or `name=value`. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

bool option_given(const char *name);

/* Is `name=value` there? */
bool option_is(const char *name, const char *value);

/* The value as a number (decimal, or hexadecimal after 0x), or `otherwise` if not given. */
uint64_t option_number(const char *name, uint64_t otherwise);

#endif
