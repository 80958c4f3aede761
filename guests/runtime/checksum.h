/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The checksum of firmware tables: all bytes add up to zero. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool sums_to_zero(const void *table, size_t size)
{
	const uint8_t *bytes = table;
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += bytes[i];
	return sum == 0;
}

#endif
