// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "paging.h"

#include <stddef.h>

#include "panic.h"

#define PRESENT		0x001
#define WRITABLE	0x002
#define UNCACHED	0x018		/* PCD, PWT */
#define LARGE		0x080
#define ADDRESS_MASK	0x000ffffffffff000

#define LARGE_SIZE	0x200000ull
#define ADDRESS_LIMIT	(1ull << 47)	/* the lower half of four-level paging */

extern uint64_t page_table_root[512];

static uint64_t spare_tables[8][512] __attribute__((aligned(4096)));
static unsigned spare_used;

/* The table below `entry`, made if there is none. */
static uint64_t *next_table(uint64_t *entry)
{
	if (!(*entry & PRESENT)) {
		if (spare_used == sizeof(spare_tables) / sizeof(spare_tables[0]))
			panic("no page tables left for device memory");
		*entry = (uint64_t)spare_tables[spare_used++] | PRESENT | WRITABLE;
	}
	return (uint64_t *)(*entry & ADDRESS_MASK);
}

mmio_t map_mmio(uint64_t address, uint64_t size)
{
	const uint64_t end = address + size;

	if (end < address || end > ADDRESS_LIMIT)
		panic("device memory at 0x%lx cannot be mapped", address);
	for (uint64_t page = address & -LARGE_SIZE; page < end; page += LARGE_SIZE) {
		uint64_t *pointers = next_table(&page_table_root[page >> 39]);
		uint64_t *directory = next_table(&pointers[page >> 30 & 511]);
		uint64_t *entry = &directory[page >> 21 & 511];
		const uint64_t wanted = page | PRESENT | WRITABLE | LARGE | UNCACHED;

		/* The CPU itself sets the accessed and dirty bits. */
		if ((*entry & wanted) == wanted)
			continue;
		*entry = wanted;
		asm volatile("invlpg (%0)" : : "r"(page) : "memory");
	}
	return (mmio_t)address;
}
