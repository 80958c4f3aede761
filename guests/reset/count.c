// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Boots are counted twice, in two kinds of memory that a reset leaves alone. */
#include "kept.h"

#include "boot.h"
#include "check.h"
#include "cpu.h"
#include "panic.h"
#include "print.h"

#define MAGIC		0x7465736572		/* "reset" */
#define CMOS_INDEX	0x70
#define CMOS_DATA	0x71
#define CMOS_BOOTS	0x6e

static uint8_t cmos_read(uint8_t index)
{
	outb(CMOS_INDEX, index);
	return inb(CMOS_DATA);
}

static void cmos_write(uint8_t index, uint8_t value)
{
	outb(CMOS_INDEX, index);
	outb(CMOS_DATA, value);
}

bool count_boot(void)
{
	bool same;

	if (!boot_is_ram((uint64_t)KEPT, sizeof(*KEPT)))
		panic("no RAM at 0x%lx to count in", (uint64_t)KEPT);
	if (KEPT->magic != MAGIC) {
		KEPT->magic = MAGIC;
		KEPT->boots = 0;
		cmos_write(CMOS_BOOTS, 0);
	}
	same = cmos_read(CMOS_BOOTS) == KEPT->boots;
	KEPT->boots++;
	cmos_write(CMOS_BOOTS, KEPT->boots);
	printf("boot %u:\n", KEPT->boots);
	return check(same, "RAM and CMOS memory count the same");
}
