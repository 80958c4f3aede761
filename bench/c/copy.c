// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * copy SIZE COUNT: memcpy(3) SIZE bytes, of whole pages, COUNT times; prints how many nanoseconds it
 * took.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE	4096

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void copy(char *to, const char *from, size_t size)
{
	memcpy(to, from, size);
	asm volatile("" : : "r"(to) : "memory"); /* somebody may look at it */
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: copy SIZE COUNT");
	size_t size = atoll(argv[1]);
	int count = atoi(argv[2]);
	char *from = aligned_alloc(PAGE, size), *to = aligned_alloc(PAGE, size);
	uint64_t start;

	if (!from || !to)
		err(1, "aligned_alloc");
	memset(from, 1, size);
	copy(to, from, size);
	start = now_ns();
	for (int i = 0; i < count; i++)
		copy(to, from, size);
	printf("%llu\n", (unsigned long long)(now_ns() - start));
	return 0;
}
