// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * Accesses one after the other, timed. The loops are unrolled, so that where instructions are
 * emulated the access, not the loop, is what is measured.
 */
#include <stddef.h>

#include "check.h"
#include "cpu.h"
#include "mmio.h"
#include "paging.h"
#include "storm.h"
#include "target.h"

#define HOLE 0xd7654000			/* below 4 GiB, where no VMM puts anything */

#define REPEAT(n, access)			\
({						\
	const uint64_t start_ = rdtsc();	\
						\
	_Pragma("GCC unroll 8")			\
	for (unsigned i_ = 0; i_ < (n); i_++)	\
		access;				\
	rdtsc() - start_;			\
})

void storm_pio(unsigned n)
{
	report("pio", "port", "out", n, REPEAT(n, outb(HARMLESS_PORT, i_)));
	report("pio", "port", "in", n, REPEAT(n, inb(HARMLESS_PORT)));
}

static void storm_register(const char *mode, const char *name, mmio_t base, uint64_t offset,
			   unsigned n)
{
	report(mode, name, "read", n, REPEAT(n, mmio_read32(base, offset)));
	report(mode, name, "write", n, REPEAT(n, mmio_write32(base, offset, i_)));
}

/* Trapped, and then nobody's: the exit alone, without a device. */
void storm_hole(unsigned n)
{
	storm_register("hole", "none", map_mmio(HOLE, 4096), 0, n);
}

void storm_mmio(unsigned n)
{
	if (check(target.name, "mmio: there is a device"))
		storm_register("mmio", target.name, target.registers, target.scratch, n);
}

void storm_mapped(unsigned n)
{
	uint32_t traps;

	if (!check(target.mapped != NULL, "mapped: there is a device with mappable memory"))
		return;
	traps = mmio_read32(target.traps, 0);
	storm_register("mapped", target.name, target.mapped, 0, n);
	check_equal(mmio_read32(target.traps, 0), traps + 1, "mapped: nothing trapped");
}
