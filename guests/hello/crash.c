// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "crash.h"

#include <stdint.h>

#include "check.h"
#include "cpu.h"
#include "options.h"
#include "paging.h"
#include "panic.h"
#include "print.h"
#include "reset.h"

#define UNCLAIMED_PORT		0x1234
#define UNCLAIMED_ADDRESS	0xd7654000	/* in the PCI hole, where no BAR is */
#define PVPANIC_PORT		0x505
#define PVPANIC_PANICKED	0x01
#define UNMAPPED_ADDRESS	0x654321000	/* not in the page tables */

static void touch_unclaimed_port(void)
{
	outl(UNCLAIMED_PORT, 0x12345678);
	check_equal(inb(UNCLAIMED_PORT), 0xff, "an unclaimed port reads all-ones, 1 byte");
	check_equal(inw(UNCLAIMED_PORT), 0xffff, "an unclaimed port reads all-ones, 2 bytes");
	check_equal(inl(UNCLAIMED_PORT), 0xffffffff, "an unclaimed port reads all-ones, 4 bytes");
}

static void touch_unclaimed_memory(void)
{
	mmio_t hole = map_mmio(UNCLAIMED_ADDRESS, 4096);

	mmio_write32(hole, 0, 0x12345678);
	check_equal(mmio_read8(hole, 0), 0xff, "unclaimed memory reads all-ones, 1 byte");
	check_equal(mmio_read32(hole, 0), 0xffffffff, "unclaimed memory reads all-ones, 4 bytes");
	check_equal(mmio_read64(hole, 0), UINT64_MAX, "unclaimed memory reads all-ones, 8 bytes");
}

/* What a kernel with such a driver does. */
static void tell_pvpanic(void)
{
	const uint8_t known = inb(PVPANIC_PORT);

	if (known == 0xff || !(known & PVPANIC_PANICKED))
		panic("no pvpanic device");
	outb(PVPANIC_PORT, PVPANIC_PANICKED);
	printf("pvpanic knows\n");
	halt_forever();
}

void crash(void)
{
	if (option_is("crash", "triple"))
		triple_fault();
	else if (option_is("crash", "ud"))
		asm volatile("ud2");
	else if (option_is("crash", "pf"))
		mmio_read32((mmio_t)UNMAPPED_ADDRESS, 0);
	else if (option_is("crash", "print"))
		printf("%s", (const char *)UNMAPPED_ADDRESS);
	else if (option_is("crash", "hang"))
		halt_forever();
	else if (option_is("crash", "spin"))
		for (;;)
			cpu_pause();
	else if (option_is("crash", "fetch"))
		((void (*)(void))(uint64_t)UNCLAIMED_ADDRESS)();
	else if (option_is("crash", "badport"))
		touch_unclaimed_port();
	else if (option_is("crash", "badmmio"))
		touch_unclaimed_memory();
	else if (option_is("crash", "panic"))
		panic("as asked for");
	else if (option_is("crash", "pvpanic"))
		tell_pvpanic();
	else
		panic("unknown crash");
}
