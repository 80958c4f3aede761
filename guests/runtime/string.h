/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The part of C's string.h that the guests, and the compiler on its own account, call. */
#ifndef STRING_H
#define STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);

#endif
